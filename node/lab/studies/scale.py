"""How far a network scales, over a measured map of the world's latencies, in virtual time: thousands of peers, many members.

Two parts: crowds under proof of work (how fast a block spreads, how many are stale), and members of a total order (how long a
commit takes, what it costs). Each writes NAME.md, NAME.json and its plots.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from node.lab.studies.plots import Line, check_request, line_plot, markdown_table, percent
from node.lab.studies.scale_runs import ANSWER_MS, ScaleResult, ScaleRun, measure_all

PARTS = ("crowds", "members")

CROWDS = (
    ScaleRun(1_000, 480, 12_000),
    ScaleRun(1_000, 240, 6_000),
    ScaleRun(1_000, 300, 3_000),
    ScaleRun(1_000, 60, 1_500),
    ScaleRun(1_000, 24, 750),
    ScaleRun(5_000, 120, 12_000),
)
"""Some forty blocks each; of the largest crowd ten, which tell how they spread but not how many are stale."""

MEMBERS = (
    ScaleRun(16, 20),
    ScaleRun(32, 12),
    ScaleRun(64, 20),
    ScaleRun(64, 20, crashed=21),
    ScaleRun(128, 12),
)
"""A few generations each. 21 is the most that 64 members tolerate."""

NORMAL_95 = 1.96
"""95 % of a normal distribution lie within so many standard deviations."""

Tell = Callable[[str], None]
Results = Mapping[ScaleRun, ScaleResult]


def reproduce_scale(out: Path, seeds: int, processes: int, parts: tuple[str, ...], tell: Tell) -> None:
    """Write the tables and plots of `parts` to the folder `out`, telling each run as it ends.

    Runs are remembered in `out`/cells, so a second call goes on where the first was interrupted. Raises ReproduceError.
    """
    check_request(parts, PARTS, seeds, processes)
    out.mkdir(parents=True, exist_ok=True)
    for part in parts:
        tell(f"part {part}")
        first = CROWDS if part == "crowds" else MEMBERS
        runs = [replace(run, seed=seed) for run in first for seed in range(1, seeds + 1)]
        results = measure_all(runs, out / "cells", processes, tell)
        write_crowds(out, results) if part == "crowds" else write_members(out, results)
        tell(f"wrote {out / part}.md")


# --- crowds ---------------------------------------------------------------------------------------------------------


def write_crowds(out: Path, results: Results) -> None:
    """The table and the plots of runs under proof of work."""
    head = (
        *("peers", "block interval", "blocks", "reaches a peer: median", "95 %", "stale (95 % interval)"),
        *("1 - exp(-D/T)", "kB sent, peer and block", "behind", "outcome", "CPU", "memory"),
    )
    rows = [_crowd_row(run, result) for run, result in results.items()]
    _write(out / "crowds", "Proof of work, by the number of peers and the block interval", head, rows, results)
    (out / "stale.svg").write_text(_stale_plot(results))
    (out / "spread.svg").write_text(_spread_plot(results))


def _crowd_row(run: ScaleRun, result: ScaleResult) -> tuple[str, ...]:
    lowest, highest = share_interval(result.stale_share, result.blocks)
    of_delays = result.delay_ms_quantiles
    return (
        f"{run.peers:,}",
        f"{run.block_interval_ms / 1000:g} s",
        str(result.blocks),
        f"{of_delays[9]} ms",
        f"{of_delays[18]} ms",
        f"{percent(result.stale_share)} ({percent(lowest)} to {percent(highest)})",
        percent(stale_expected(run, result)),
        f"{result.bytes_sent_median / max(1, result.blocks) / 1000:.1f}",
        str(result.height_max - result.height_min),
        result.outcome,
        f"{result.cpu_s:.0f} s for {result.virtual_s:.0f} s",
        f"{result.rss_mb:,.0f} MB",
    )


def blind_share(run: ScaleRun, result: ScaleResult) -> float:
    """D / T: how long a peer mines past a new block on average, in block intervals; its check counts, too."""
    return (result.delay_ms_mean + ANSWER_MS) / run.block_interval_ms


def stale_expected(run: ScaleRun, result: ScaleResult) -> float:
    """1 - exp(-D/T): the chance that somebody finds another block before all have the new one.

    Decker, Wattenhofer, "Information propagation in the Bitcoin network", P2P 2013: 1 - (1 - P)^D with a chance P of a block in
    each second, and D the integral over time of the share of peers that do not have it yet, which is the mean delay.
    """
    return 1 - math.exp(-blind_share(run, result))


def share_interval(share: float, count: int) -> tuple[float, float]:
    """Where the true share lies with 95 %, after `count` draws: Wilson's score interval (JASA 1927)."""
    if count == 0:
        return 0.0, 1.0
    z = NORMAL_95
    middle = share + z * z / (2 * count)
    width = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def _stale_plot(results: Results) -> str:
    sizes = sorted({run.peers for run in results})
    lines = [_stale_points(results, size) for size in sizes]
    furthest = max(blind_share(run, result) for run, result in results.items())
    steps = [furthest * step / 40 for step in range(41)]
    lines.append(Line("1 - exp(-D/T)", tuple((step, 100 * (1 - math.exp(-step))) for step in steps), is_dashed=True))
    lines.append(Line("D / (T + D)", tuple((step, 100 * step / (1 + step)) for step in steps), is_dashed=True))
    return line_plot("Stale blocks", "mean delay D / block interval T", "% of all blocks", lines)


def _stale_points(results: Results, peers: int) -> Line:
    """With the intervals that hold the true share with 95 %."""
    of_size = sorted(
        (blind_share(run, result), result.stale_share, result.blocks) for run, result in results.items() if run.peers == peers
    )
    intervals = [share_interval(share, blocks) for _, share, blocks in of_size]
    return Line(
        f"{peers:,} peers",
        tuple((ratio, 100 * share) for ratio, share, _ in of_size),
        intervals=tuple((100 * lowest, 100 * highest) for lowest, highest in intervals),
    )


def _spread_plot(results: Results) -> str:
    """Of the runs with the longest interval: their blocks hardly meet each other."""
    longest = max(run.block_interval_ms for run in results)
    shown = {run: result for run, result in results.items() if run.block_interval_ms == longest}
    lines = [
        Line(f"{run.peers:,} peers", tuple((ms, 5.0 * place) for place, ms in enumerate(result.delay_ms_quantiles, 1)))
        for run, result in shown.items()
    ]
    return line_plot("How a block spreads", "ms after its first peer has it", "% of peers", lines)


# --- members --------------------------------------------------------------------------------------------------------


def write_members(out: Path, results: Results) -> None:
    """The table and the plot of runs under total order."""
    head = (
        *("members", "crashed", "rounds a second", "commit latency: median", "95 %", "seconds a generation"),
        *("MB sent, member and generation", "behind", "outcome", "CPU", "memory"),
    )
    rows = [_members_row(run, result) for run, result in results.items()]
    _write(out / "members", "Total order, by the number of members", head, rows, results)
    (out / "commits.svg").write_text(_commit_plot(results))


def _members_row(run: ScaleRun, result: ScaleResult) -> tuple[str, ...]:
    generations = max(1.0, result.generations)
    return (
        str(run.peers),
        str(run.crashed),
        f"{result.rounds / result.virtual_s:.1f}",
        f"{result.delay_ms_quantiles[9]} ms",
        f"{result.delay_ms_quantiles[18]} ms",
        f"{result.virtual_s / generations:.1f}",
        f"{result.bytes_sent_median / generations / 1e6:.2f}",
        str(result.height_max - result.height_min),
        result.outcome,
        f"{result.cpu_s:.0f} s for {result.virtual_s:.0f} s",
        f"{result.rss_mb:,.0f} MB",
    )


def _commit_plot(results: Results) -> str:
    whole = {run: result for run, result in results.items() if not run.crashed}
    lines = [
        Line(name, tuple((run.peers, result.delay_ms_quantiles[place]) for run, result in whole.items()))
        for name, place in (("median", 9), ("95 %", 18))
    ]
    return line_plot("From handing in to delivery", "members", "ms", lines)


def _write(file: Path, title: str, head: Sequence[str], rows: Sequence[Sequence[str]], results: Results) -> None:
    file.with_suffix(".md").write_text(f"# {title}\n\n{markdown_table(head, rows)}")
    facts = [{"run": asdict(run), "result": asdict(result)} for run, result in results.items()]
    file.with_suffix(".json").write_text(json.dumps({"title": title, "rows": facts}, indent=1))
