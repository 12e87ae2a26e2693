"""How deep is final? Attacker's share and depth against the mean time until something final is undone.

Two parts. `formula`: tables for every share and depth, with the depth that holds for a year. `races`: the same on the real
chain code where that takes less than a day, beside the formula. Each writes NAME.md and NAME.json, the first a plot too.
"""

import hashlib
import json
import math
import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from consensus.proof_of_work.rules import FINALITY_DEPTH_MAX, ChainRules
from node.lab.studies.finality_race import AttackStrategy, Race, races_of
from node.lab.studies.finality_theory import best_attack, catch_up_chance, counted_share, restarting_blocks
from node.lab.studies.plots import Line, check_request, line_plot, markdown_table, percent

INTERVAL_MS = ChainRules().block_interval_ms

PARTS = ("formula", "races")

SHARES = (0.10, 0.15, 0.20, 0.25, 0.30, 0.33, 0.35, 0.40, 0.45)

DEPTHS = (16, 32, 64, 100, 150, 200, 256, 384, 512)

STALE_SHARES = (0.0, 0.05, 0.1)
"""Of the honest blocks: none; a fast network at the default interval; a slower one."""

HALF_LIVES = (30, 60, 120)
"""Of the difficulty, in blocks: the default, and slower ones."""

YEARLY_SHARES = (0.2, 0.25, 0.3, 0.33, 0.35)
"""For which the depth that holds for a year is told: those between what hardly matters and what nothing withstands."""

STEADY_HALF_LIFE = 10_000
"""Blocks: over one race the difficulty stands still, as the formula of a restarting attacker assumes."""

RACES = (
    *(
        Race(share, depth, AttackStrategy.RESTARTING, half_life_blocks=STEADY_HALF_LIFE)
        for share, depth in ((0.3, 6), (0.3, 12), (0.4, 16), (0.4, 32))
    ),
    *(
        Race(share, depth, AttackStrategy.EARLY)
        for share, depth in (
            (0.25, 16),
            (0.3, 16),
            (0.3, 32),
            (0.3, 64),
            (0.35, 64),
            (0.35, 100),
            (0.4, 100),
            (0.45, 256),
        )
    ),
    *(Race(share, depth, AttackStrategy.EARLY, stale_share=0.1) for share, depth in ((0.3, 16), (0.3, 32), (0.35, 64))),
)
"""The first attacker for its formula's sake, the second because it is the strongest."""

BLOCKS_MAX = 400_000
"""Of the main chain in all races of a kind: beyond it there are fewer races than asked for, but RACES_MIN."""

RACES_MIN = 8

NORMAL_95 = 1.96

SECONDS = (("years", 365.25 * 86_400), ("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0), ("seconds", 1.0))

YEARS_SHOWN_MAX = 1e6

YEAR_S = SECONDS[0][1]

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """Races of one kind: the mean of the main chain's blocks until the reversal, and how far it is to be trusted."""

    races: int
    mean_blocks: float
    error_blocks: float
    """Half of the interval that holds the true mean with 95 %."""
    seconds_per_block: float
    attempts_mean: float


def reproduce_finality(out: Path, seeds: int, processes: int, parts: tuple[str, ...], tell: Tell) -> None:
    """Write the tables and the plot of `parts` to the folder `out`. Finished races are remembered in `out`/cells.

    Raises ReproduceError.
    """
    check_request(parts, PARTS, seeds, processes)
    out.mkdir(parents=True, exist_ok=True)
    for part in parts:
        tell(f"part {part}")
        write_formula(out, processes) if part == "formula" else write_races(
            out, measure_all(seeds, processes, out / "cells", tell)
        )
        tell(f"wrote {out / part}.md")


def _pool(processes: int) -> Executor:
    """One at a time needs no process of its own."""
    if processes == 1:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))


# --- the formula ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReversalTime:
    """One mean time of the strongest attacker. `half_life_blocks`: None where it leaves its difficulty alone."""

    share: float
    depth: int
    stale_share: float
    half_life_blocks: int | None


def mean_blocks(cell: ReversalTime) -> float:
    """Of the main chain, until something final is undone."""
    return best_attack(counted_share(cell.share, cell.stale_share), cell.depth, cell.half_life_blocks).mean_blocks


def depth_for(cell: ReversalTime, blocks: float, depth_max: int) -> int | None:
    """The least depth at which the mean is so many blocks or more, whatever depth the cell has; None: none that is allowed."""
    low, high = 1, depth_max
    if mean_blocks(replace(cell, depth=high)) < blocks:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if mean_blocks(replace(cell, depth=middle)) >= blocks else (middle + 1, high)
    return low


def write_formula(out: Path, processes: int) -> None:
    """Tables by share and depth, and what a year takes."""
    half_life = ChainRules().half_life_blocks
    cells = [ReversalTime(share, depth, stale, half_life) for stale in STALE_SHARES for share in SHARES for depth in DEPTHS]
    yearly = [ReversalTime(share, 0, stale, life) for life in HALF_LIVES for stale in STALE_SHARES for share in YEARLY_SHARES]
    year = YEAR_S * 1000 / INTERVAL_MS
    with _pool(processes) as pool:
        needed = pool.map(partial(depth_for, blocks=year, depth_max=FINALITY_DEPTH_MAX), yearly)
        means = dict(zip(cells, pool.map(mean_blocks, cells), strict=True))
        depths = dict(zip(yearly, needed, strict=True))
    text = [_times(means, stale) for stale in STALE_SHARES]
    text += [_blocks(means), _yearly(depths), _attempts()]
    (out / "formula.md").write_text("# Mean time until something final is undone\n\n" + "\n".join(text))
    (out / "formula.svg").write_text(_plot(means))
    facts = [{**asdict(cell), "mean_blocks": _finite(blocks)} for cell, blocks in means.items()]
    years = [{**asdict(cell), "depth": depth} for cell, depth in depths.items()]
    (out / "formula.json").write_text(json.dumps({"means": facts, "depth_for_a_year": years}, indent=1))


def _times(means: dict[ReversalTime, float], stale: float) -> str:
    head = ("share of the work", *(f"depth {depth}" for depth in DEPTHS))
    rows = [
        (percent(share), *(duration(seconds_of(_mean(means, share, depth, stale))) for depth in DEPTHS)) for share in SHARES
    ]
    seconds = f"{INTERVAL_MS / 1000:g} s"
    return f"## A block in {seconds}, {percent(stale)} of the honest blocks stale\n\n{markdown_table(head, rows)}"


def _blocks(means: dict[ReversalTime, float]) -> str:
    head = ("share of the work", *(f"depth {depth}" for depth in DEPTHS))
    rows = [(percent(share), *(f"{_mean(means, share, depth, 0.0):.2g}" for depth in DEPTHS)) for share in SHARES]
    return f"## In blocks of the main chain, none stale\n\n{markdown_table(head, rows)}"


def _yearly(depths: dict[ReversalTime, int | None]) -> str:
    head = (
        "share of the work",
        *(f"half-life {life}, {percent(stale)} stale" for life in HALF_LIVES for stale in STALE_SHARES),
    )
    rows = [
        (
            percent(share),
            *(
                str(depths[ReversalTime(share, 0, stale, life)] or f"above {FINALITY_DEPTH_MAX:,}")
                for life in HALF_LIVES
                for stale in STALE_SHARES
            ),
        )
        for share in YEARLY_SHARES
    ]
    title = f"Depth that holds for a year on average, a block in {INTERVAL_MS / 1000:g} s"
    return f"## {title}\n\n{markdown_table(head, rows)}"


def _attempts() -> str:
    """Rosenfeld's chance of one attempt, and the mean of an attacker that starts again whenever it falls behind."""
    head = ("share of the work", *(f"depth {depth}" for depth in DEPTHS))
    once = [(percent(share), *(f"{catch_up_chance(share, depth + 1):.1e}" for depth in DEPTHS)) for share in SHARES]
    again = [(percent(share), *(duration(seconds_of(restarting_blocks(share, depth))) for depth in DEPTHS)) for share in SHARES]
    return (
        f"## Weaker attackers: chance of one attempt (Rosenfeld)\n\n{markdown_table(head, once)}\n"
        f"## Weaker attackers: mean time when it starts again whenever it falls behind\n\n{markdown_table(head, again)}"
    )


def _plot(means: dict[ReversalTime, float]) -> str:
    shown = [share for share in SHARES if share >= 0.2]
    lines = [
        Line(percent(share), tuple((depth, math.log10(seconds_of(_mean(means, share, depth, 0.0)))) for depth in DEPTHS))
        for share in shown
    ]
    lines.append(Line("a year", tuple((depth, math.log10(YEAR_S)) for depth in (DEPTHS[0], DEPTHS[-1])), is_dashed=True))
    return line_plot("Mean time until something final is undone", "finality depth", "log10 of seconds", lines)


def _mean(means: dict[ReversalTime, float], share: float, depth: int, stale: float) -> float:
    return means[ReversalTime(share, depth, stale, ChainRules().half_life_blocks)]


def seconds_of(blocks: float) -> float:
    """At the default interval."""
    return blocks * INTERVAL_MS / 1000


def duration(seconds: float) -> str:
    """To two digits, in the largest unit of which there is one."""
    if seconds > YEARS_SHOWN_MAX * YEAR_S:
        return "> 10^6 years"
    unit, length = next((name, length) for name, length in SECONDS if seconds >= length or length == 1)
    count = seconds / length
    return f"{count:.1f} {unit}" if count < 10 else f"{float(f'{count:.2g}'):,.0f} {unit}"


def _finite(blocks: float) -> float | None:
    """JSON has no infinity."""
    return blocks if math.isfinite(blocks) else None


# --- the races ------------------------------------------------------------------------------------------------------


def expected_blocks(race: Race) -> float:
    """What the formula says of a race."""
    share = counted_share(race.share, race.stale_share)
    if race.strategy is AttackStrategy.RESTARTING:
        return restarting_blocks(share, race.depth)
    return best_attack(share, race.depth, race.half_life_blocks).mean_blocks


def measure(race: Race, races: int) -> Measured:
    """So many races, with seeds from 1 on."""
    ends = list(races_of(race, iter(range(1, races + 1))))
    blocks = [end.blocks for end in ends]
    error = NORMAL_95 * statistics.stdev(blocks) / math.sqrt(races)
    seconds = sum(end.seconds for end in ends) / sum(blocks)
    return Measured(races, statistics.fmean(blocks), error, seconds, statistics.fmean(end.attempts for end in ends))


def measure_all(seeds: int, processes: int, remembered: Path, tell: Tell) -> dict[Race, Measured]:
    """All races, those remembered in the folder without running them again."""
    remembered.mkdir(parents=True, exist_ok=True)
    wanted = {race: max(RACES_MIN, min(seeds, round(BLOCKS_MAX / expected_blocks(race)))) for race in RACES}
    files = {race: remembered / f"{_key(race, races)}.json" for race, races in wanted.items()}
    results = {race: Measured(**json.loads(file.read_text())) for race, file in files.items() if file.exists()}
    tell(f"{len(RACES)} kinds of races, {len(results)} of them remembered")
    with _pool(processes) as pool:
        futures = {pool.submit(measure, race, wanted[race]): race for race in RACES if race not in results}
        for future in as_completed(futures):
            race = futures[future]
            results[race] = future.result()
            files[race].write_text(json.dumps(asdict(results[race])))
            tell(f"{len(results)}/{len(RACES)} {percent(race.share)}, depth {race.depth}: {results[race].races} races")
    return {race: results[race] for race in RACES}


def _key(race: Race, races: int) -> str:
    text = json.dumps([asdict(race), races], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def write_races(out: Path, results: dict[Race, Measured]) -> None:
    """The table of what was run beside what the formula says."""
    head = ("attacker", "share", "depth", "stale", "races", "blocks until the reversal (95 %)", "formula", "a block in")
    rows: list[Sequence[str]] = []
    for race, measured in results.items():
        mean = f"{measured.mean_blocks:,.0f} ± {measured.error_blocks:,.0f}"
        share, stale, pace = percent(race.share), percent(race.stale_share), f"{measured.seconds_per_block:.2f} s"
        rows.append(
            (race.strategy, share, str(race.depth), stale, str(measured.races), mean, f"{expected_blocks(race):,.0f}", pace)
        )
    title = "Races on the real chain code, beside the formula"
    (out / "races.md").write_text(f"# {title}\n\n{markdown_table(head, rows)}")
    facts = [{"race": asdict(race), "measured": asdict(result)} for race, result in results.items()]
    (out / "races.json").write_text(json.dumps({"title": title, "rows": facts}, indent=1))
