"""What a person or a program reads of a run: its outcome, its hash, how to replay it; from a scenario's file on."""

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import assert_never

import node
from node.common.errors import EXIT_DISAGREEMENT, EXIT_GOAL_NOT_MET, EXIT_OK, MEND_FILE, NodeError
from node.common.wording import INSTALLED_COMMAND, SCRIPT, counted
from node.lab.checkers.finding import Diverged, NoProgress, Pass, RunOutcome
from node.lab.scenarios.scenario import Scenario, read_scenario
from node.lab.scenarios.scenario_check import warnings
from node.lab.simulation.run import Simulation, SimulationOutcome, without_garbage_collection
from node.lab.simulation.trace import Sink, lines_into
from node.rules.typed_toml import TomlProblem

Json = str | int | float | list[str] | list[int] | dict[str, int] | dict[str, float] | None


def exit_code(outcome: RunOutcome) -> int:
    """0: passed; 1: no progress; 3: diverged."""
    match outcome:
        case Pass():
            return EXIT_OK
        case NoProgress():
            return EXIT_GOAL_NOT_MET
        case Diverged():
            return EXIT_DISAGREEMENT
        case _:
            assert_never(outcome)


def replay_command(path: Path, seed: int) -> str:
    """What shows the same run again, from any folder."""
    script = Path(node.__file__).parent.parent / SCRIPT
    program = [sys.executable, str(script)] if script.exists() else [INSTALLED_COMMAND]
    return shlex.join([*program, "simulate", str(path.absolute()), "--seed", str(seed)])


def reason(outcome: RunOutcome) -> str:
    """What was found; nothing where all is well."""
    match outcome:
        case Pass():
            return ""
        case NoProgress(detail):
            return detail
        case Diverged(finding):
            return f"it does not hold that {finding.checker}: {finding.detail}"
        case _:
            assert_never(outcome)


def excerpt_lines(outcome: RunOutcome) -> tuple[str, ...]:
    """The part of the trace that shows it."""
    return () if isinstance(outcome, Pass) else outcome.excerpt.lines


def document(scenario: Scenario, seed: int, outcome: SimulationOutcome, warnings: tuple[str, ...]) -> dict[str, Json]:
    """For programs."""
    return {
        "name": scenario.name,
        "seed": seed,
        "outcome": type(outcome.run_outcome).__name__,
        "reason": reason(outcome.run_outcome),
        "excerpt": list(excerpt_lines(outcome.run_outcome)),
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
        "rare_paths": dict(outcome.run_outcome.counts),
    }


def lines(path: Path, seed: int, outcome: SimulationOutcome, wall_s: float) -> Iterator[str]:
    """For people."""
    virtual_s = outcome.virtual_ms / 1000
    yield f"{type(outcome.run_outcome).__name__} after {virtual_s:g} s of virtual time ({wall_s:.1f} s here)"
    if not isinstance(outcome.run_outcome, Pass):
        yield f"  {reason(outcome.run_outcome)}"
        yield from (f"  | {line}" for line in excerpt_lines(outcome.run_outcome))
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
    taken = ", ".join(f"{name} {count}" for name, count in outcome.run_outcome.counts.items() if count)
    if taken:
        yield f"rare paths taken: {taken}"
    yield f"trace {outcome.trace_digest}"
    if not isinstance(outcome.run_outcome, Pass):
        yield f"replay: {replay_command(path, seed)}"


@dataclass(frozen=True, slots=True)
class Result:
    """What is told of a run. `document`: for programs; `lines`: for people."""

    exit_code: int
    document: dict[str, Json]
    lines: tuple[str, ...]

    def compared(self, other_trace: str) -> "Result":
        """With what a repeated run had for a trace."""
        is_same = self.document["trace"] == other_trace
        told = "the repeated run has the same trace" if is_same else f"the repeated run has another trace: {other_trace}"
        return replace(
            self,
            exit_code=self.exit_code if is_same else EXIT_DISAGREEMENT,
            document={**self.document, "repeated_trace": other_trace},
            lines=(*self.lines, told),
        )


def run_file(path: Path, seed: int, trace_file: Path | None, tell: Callable[[int, int], None]) -> Result:
    """Run the scenario in the file, its trace into `trace_file`. Raises NodeError.

    `tell` hears the virtual ms passed, and how many there are.
    """
    scenario = read_scenario(path)
    with lines_into(trace_file) as sink:
        simulation = _simulation(path, scenario, seed, sink)
        begun = time.monotonic()
        with without_garbage_collection():
            outcome = simulation.run(lambda passed_ms: tell(passed_ms, scenario.duration_ms))
        wall_s = time.monotonic() - begun
    loud = warnings(scenario)
    return Result(
        exit_code=exit_code(outcome.run_outcome),
        document=document(scenario, seed, outcome, loud),
        lines=(*(f"WARNING: {line}" for line in loud), *lines(path, seed, outcome, wall_s)),
    )


def _simulation(path: Path, scenario: Scenario, seed: int, sink: Sink | None) -> Simulation:
    """Raises NodeError where the scenario contradicts itself, or its sections the rules of a network."""
    try:
        return Simulation(scenario, seed, sink)
    except TomlProblem as problem:
        raise NodeError(f"{path}: {problem}", MEND_FILE) from problem
