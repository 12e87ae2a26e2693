"""What a person or a program reads of a run: its verdict, its hash, and how to replay it."""

import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import assert_never

import node
from node.common.errors import EXIT_DISAGREEMENT, EXIT_GOAL_NOT_MET, EXIT_OK
from node.common.wording import INSTALLED_COMMAND, SCRIPT, counted
from node.lab.checkers.finding import Diverged, NoProgress, Pass, RunOutcome
from node.lab.scenarios.scenario import Scenario
from node.lab.simulation.run import SimulationOutcome

Json = str | int | float | list[str] | list[int] | dict[str, int] | dict[str, float] | None


def exit_code(verdict: RunOutcome) -> int:
    """0: passed; 1: no progress; 3: diverged."""
    match verdict:
        case Pass():
            return EXIT_OK
        case NoProgress():
            return EXIT_GOAL_NOT_MET
        case Diverged():
            return EXIT_DISAGREEMENT
        case _:
            assert_never(verdict)


def replay_command(path: Path, seed: int) -> str:
    """What shows the same run again, from any folder."""
    script = Path(node.__file__).parent.parent / SCRIPT
    program = [sys.executable, str(script)] if script.exists() else [INSTALLED_COMMAND]
    return shlex.join([*program, "simulate", str(path.absolute()), "--seed", str(seed)])


def reason(verdict: RunOutcome) -> str:
    """What was found; nothing where all is well."""
    match verdict:
        case Pass():
            return ""
        case NoProgress(detail):
            return detail
        case Diverged(finding):
            return f"it does not hold that {finding.checker}: {finding.detail}"
        case _:
            assert_never(verdict)


def excerpt_lines(verdict: RunOutcome) -> tuple[str, ...]:
    """The part of the trace that shows it."""
    return () if isinstance(verdict, Pass) else verdict.excerpt.lines


def document(scenario: Scenario, seed: int, outcome: SimulationOutcome, warnings: tuple[str, ...]) -> dict[str, Json]:
    """For programs."""
    return {
        "name": scenario.name,
        "seed": seed,
        "verdict": type(outcome.verdict).__name__,
        "reason": reason(outcome.verdict),
        "excerpt": list(excerpt_lines(outcome.verdict)),
        "warnings": list(warnings),
        "trace": outcome.trace_digest,
        "events": outcome.events,
        "virtual_s": outcome.virtual_ms / 1000,
        "heights": list(outcome.heights),
        "fitness": outcome.fitness,
        "bytes_sent_median": int(median(outcome.bytes_sent)),
        "connections_lost": outcome.connections_lost,
        "doors": None if outcome.doors is None else asdict(outcome.doors),
        "blocks": None if outcome.spread is None else asdict(outcome.spread),
        "rare_paths": dict(outcome.verdict.counts),
    }


def lines(path: Path, seed: int, outcome: SimulationOutcome, wall_s: float) -> Iterator[str]:
    """For people."""
    virtual_s = outcome.virtual_ms / 1000
    yield f"{type(outcome.verdict).__name__} after {virtual_s:g} s of virtual time ({wall_s:.1f} s here)"
    if not isinstance(outcome.verdict, Pass):
        yield f"  {reason(outcome.verdict)}"
        yield from (f"  | {line}" for line in excerpt_lines(outcome.verdict))
    heights = outcome.heights
    yield f"heights {min(heights)} to {max(heights)}, fitness {outcome.fitness:g}, {counted(outcome.events, 'event')}"
    lost = f"{counted(outcome.connections_lost, 'connection')} lost"
    yield f"{median(outcome.bytes_sent) / 1000:,.0f} kB sent by a peer (median), {lost}"
    if outcome.doors is not None:
        doors = outcome.doors
        yield (
            f"{counted(doors.came, 'connection')} came to honest peers' doors; "
            f"{counted(doors.proven, 'link')} with a proven key, in and out; "
            f"{counted(doors.noted, 'note')} for people"
        )
    if outcome.spread is not None:
        spread = outcome.spread
        yield (
            f"{counted(spread.blocks, 'block')}, {100 * spread.stale_share:.1f} % of them stale; one reaches a peer in "
            f"{spread.median_ms} ms (median), {spread.slowest_twentieth_ms} ms (95 %)"
        )
    taken = ", ".join(f"{name} {count}" for name, count in outcome.verdict.counts.items() if count)
    if taken:
        yield f"rare paths taken: {taken}"
    yield f"trace {outcome.trace_digest}"
    if not isinstance(outcome.verdict, Pass):
        yield f"replay: {replay_command(path, seed)}"
