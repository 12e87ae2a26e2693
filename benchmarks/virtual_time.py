"""How long networks take to learn digits, in virtual time, each peer on cores of its own: by the number of peers, and more.

    python -m benchmarks.virtual_time --out docs/evolution [--part peers ...] [--seeds 5] [--processes 1]

Writes one table a part, and a plot of accuracy over time. What a step costs is stated in `benchmarks.virtual_network`;
`--measure` measures it on this machine instead of running anything. Runs are remembered in OUT/cells.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.virtual_network import DIGITS, LOSS, TEST, VALIDATION, VirtualCurve, VirtualRun, run
from learning.exact import fill_children, first_weights, noise_key, stream_key
from learning.task import Float32Array
from learning.tasks.loading import load_task
from node.common.goal import MetricGoal
from node.lab.studies.plots import Line, Panel, markdown_table, panel_plot
from node.lab.studies.remembered import Study
from node.rules.network_rules import Consensus

ORDER, WORK = Consensus.TOTAL_ORDER.value, Consensus.PROOF_OF_WORK.value

PEERS = (1, 2, 4, 8)

FAULT_PEERS, FAULTY = 7, 2

FAULTS = {
    ORDER: ("mute", "reversed-lists", "scores-inverted", "reversed-lists+scores-inverted"),
    WORK: ("mute", "inflated-claim"),
}

COSTS = (1, 100)

COSTLY_LIMIT_S = 300

EFFORTS = (1, 2, 4, 8, 0)

EFFORT_PEERS = (1, 4, 8)

STRATEGY_LIMIT_S, STRATEGY_PEERS = 15, (1, 4)

STRATEGIES = ("joint", "recombination", "plus", "comma")

PARTS = ("peers", "faults", "costly", "strategies", "efforts")

Results = Mapping[VirtualRun, VirtualCurve]


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("virtual-time"), help="The folder of the tables.")
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Only these.")
@click.option("--seeds", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--measure", "is_measured", is_flag=True, help="Measure what steps cost here, and end.")
def main(out: Path, parts: tuple[str, ...], seeds: int, processes: int, is_measured: bool) -> None:
    """Print and write the tables."""
    if is_measured:
        click.echo(measured())
        return
    out.mkdir(parents=True, exist_ok=True)
    study = Study(run, VirtualCurve, _line)
    known: dict[VirtualRun, VirtualCurve] = {}
    for part in parts or PARTS:
        cells = [replace(cell, seed=seed) for seed in range(seeds) for cell in CELLS[part]()]
        results = study.results(cells, out / "cells", processes, click.echo)
        text = TABLES[part](results, seeds)
        (out / f"time-{part}.md").write_text(text)
        click.echo(text)
        known |= results
    if any(cell in known for cell in peers_cells() + costly_cells()):
        (out / "time.svg").write_text(plot(known, seeds))


def _line(cell: VirtualRun, curve: VirtualCurve) -> str:
    name = f"{cell.consensus}, {cell.strategy}, {cell.peers} peers, {cell.times} times, effort {cell.effort}, seed {cell.seed}"
    return f"{name}{', ' + cell.fault if cell.fault else ''}: {_text(curve.seconds_to(TEST))} s"


# --- what is run ----------------------------------------------------------------------------------------------------


def peers_cells() -> list[VirtualRun]:
    """Honest peers by either order."""
    return [VirtualRun(consensus, peers, 0) for consensus in (ORDER, WORK) for peers in PEERS]


def faults_cells() -> list[VirtualRun]:
    """As many as seven members tolerate."""
    cells = [VirtualRun(consensus, FAULT_PEERS, 0) for consensus in FAULTS]
    faulty = [
        VirtualRun(consensus, FAULT_PEERS, 0, fault=fault, faulty=FAULTY)
        for consensus, faults in FAULTS.items()
        for fault in faults
    ]
    return cells + faulty


def costly_cells() -> list[VirtualRun]:
    """A total order whose evaluations take longer."""
    return [VirtualRun(ORDER, peers, 0, times=COSTS[-1], is_loss_wanted=True, limit_s=COSTLY_LIMIT_S) for peers in PEERS]


def efforts_cells() -> list[VirtualRun]:
    """Fixed efforts, and what follows the time there is."""
    return [
        VirtualRun(ORDER, peers, 0, times=times, effort=effort, is_loss_wanted=True, limit_s=COSTLY_LIMIT_S)
        for times in COSTS
        for peers in EFFORT_PEERS
        for effort in EFFORTS
    ]


def strategies_cells() -> list[VirtualRun]:
    """All four."""
    return [
        VirtualRun(ORDER, peers, 0, strategy=strategy, limit_s=STRATEGY_LIMIT_S)
        for strategy in STRATEGIES
        for peers in STRATEGY_PEERS
    ]


CELLS: Mapping[str, Callable[[], list[VirtualRun]]] = {
    "peers": peers_cells,
    "faults": faults_cells,
    "costly": costly_cells,
    "efforts": efforts_cells,
    "strategies": strategies_cells,
}


# --- what is written ------------------------------------------------------------------------------------------------


def peers_table(results: Results, seeds: int) -> str:
    """Seconds and steps."""
    rows = []
    for cell in peers_cells():
        curves = _of(results, cell, seeds)
        rows.append((cell.consensus, str(cell.peers), *_times(curves, (TEST, VALIDATION)), _spread(curves, TEST)))
    head = ("order", "peers", "90 % of the test part, s (steps)", "90 % of the validation part, s (steps)", "each seed, s")
    return _page("Virtual seconds to 90 % on digits, by the number of peers", head, rows, seeds)


def faults_table(results: Results, seeds: int) -> str:
    """Against the same number of honest peers."""
    rows = []
    for cell in faults_cells():
        honest = VirtualRun(cell.consensus, cell.peers, 0)
        curves, base = _of(results, cell, seeds), _of(results, honest, seeds)
        times = [_ratio(curves, base, goal) for goal in (TEST, VALIDATION)]
        rows.append((cell.consensus, cell.fault or "nobody", *_times(curves, (TEST, VALIDATION)), *times))
    head = ("order", f"{FAULTY} of {FAULT_PEERS}", "90 % test, s (steps)", "90 % validation, s (steps)", "times", "times")
    return _page("Virtual seconds to 90 % on digits where some misbehave", head, rows, seeds)


def costly_table(results: Results, seeds: int) -> str:
    """By how much more members are faster."""
    rows = []
    for cell in costly_cells():
        curves, alone = _of(results, cell, seeds), _of(results, replace(cell, peers=1), seeds)
        speed = [_ratio(alone, curves, goal) for goal in (TEST, LOSS)]
        rows.append((str(cell.peers), *_times(curves, (TEST, LOSS)), *speed))
    head = ("members", "90 % test, s (steps)", "validation loss 0.3, s (steps)", "times as fast as 1", "by the loss")
    title = f"Virtual seconds of a total order on digits, where an evaluation takes {COSTS[-1]} times as long"
    return _page(title, head, rows, seeds)


def efforts_table(results: Results, seeds: int) -> str:
    """Seconds to the validation goals, by fixed effort."""
    rows = []
    for times in COSTS:
        for peers in EFFORT_PEERS:
            row = [f"{times} times", str(peers)]
            for effort in EFFORTS:
                cell = VirtualRun(ORDER, peers, 0, times=times, effort=effort, is_loss_wanted=True, limit_s=COSTLY_LIMIT_S)
                curves = _of(results, cell, seeds)
                row.append(" / ".join(_text(_median(curves, goal)) for goal in (VALIDATION, LOSS)))
            rows.append(row)
    names = (*(f"{effort} λ" for effort in EFFORTS if effort), "by the time there is")
    title = "Virtual seconds to 90 % / loss 0.3 of the validation part, by how many mutations a list is of"
    return _page(title, ("an evaluation takes", "members", *names), rows, seeds)


def strategies_table(results: Results, seeds: int) -> str:
    """Who never gets there within the limit is told so."""
    rows = [
        (cell.strategy, str(cell.peers), *_times(_of(results, cell, seeds), (TEST, VALIDATION))) for cell in strategies_cells()
    ]
    head = ("strategy", "members", "90 % test, s (steps)", "90 % validation, s (steps)")
    title = f"Virtual seconds of a total order to 90 % on digits, by strategy; {STRATEGY_LIMIT_S} s at most"
    return _page(title, head, rows, seeds)


TABLES: Mapping[str, Callable[[Results, int], str]] = {
    "peers": peers_table,
    "faults": faults_table,
    "costly": costly_table,
    "efforts": efforts_table,
    "strategies": strategies_table,
}


def plot(results: Results, seeds: int) -> str:
    """Accuracy over time: medians of all seeds, a line for each number of peers; of the parts that were run."""
    titles = {
        "total order": [VirtualRun(ORDER, peers, 0) for peers in PEERS],
        f"total order, an evaluation takes {COSTS[-1]} times as long": costly_cells(),
        "proof of work": [VirtualRun(WORK, peers, 0) for peers in PEERS],
    }
    panels = []
    for title, cells in titles.items():
        if cells[0] in results:
            lines = tuple(
                Line(f"{cell.peers} peer{'s' if cell.peers > 1 else ''}", _median_curve(_of(results, cell, seeds)))
                for cell in cells
            )
            panels.append(Panel(title, "virtual seconds", "accuracy on the test part, %", lines))
    return panel_plot(panels)


def _median_curve(curves: Sequence[VirtualCurve]) -> tuple[tuple[float, float], ...]:
    """When at least half of the runs had so many steps, and the median of what they had then; as far as all go."""
    steps = min(len(curve.points) for curve in curves)
    return tuple(
        (
            statistics.median(curve.points[step][0] for curve in curves),
            100 * statistics.median(curve.points[step][1]["test_accuracy"] for curve in curves),
        )
        for step in range(steps)
    )


def _of(results: Results, cell: VirtualRun, seeds: int) -> list[VirtualCurve]:
    return [results[replace(cell, seed=seed)] for seed in range(seeds)]


def _median(curves: Iterable[VirtualCurve], goal: MetricGoal) -> float | None:
    """None: half of the runs or more never get there."""
    found = [curve.seconds_to(goal) for curve in curves]
    median = statistics.median(float("inf") if seconds is None else seconds for seconds in found)
    return None if median == float("inf") else median


def _steps(curves: Iterable[VirtualCurve], goal: MetricGoal) -> str:
    found = [curve.steps_to(goal) for curve in curves]
    return f"{statistics.median(float('inf') if steps is None else steps for steps in found):g}"


def _times(curves: Sequence[VirtualCurve], goals: Iterable[MetricGoal]) -> list[str]:
    return [
        f"{_text(median)} ({_steps(curves, goal)})" if (median := _median(curves, goal)) is not None else "never"
        for goal in goals
    ]


def _spread(curves: Iterable[VirtualCurve], goal: MetricGoal) -> str:
    return " ".join(_text(curve.seconds_to(goal)) for curve in curves)


def _ratio(curves: Sequence[VirtualCurve], base: Sequence[VirtualCurve], goal: MetricGoal) -> str:
    one, other = _median(curves, goal), _median(base, goal)
    return "" if one is None or other is None else f"{one / other:.2f}"


def _text(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f}" if seconds < 10 else f"{seconds:.0f}"


def _page(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], seeds: int) -> str:
    drawn = f"Medians of {seeds} seeds." if seeds > 1 else "One seed."
    return f"# {title}\n\n{drawn}\n\n{markdown_table(head, rows)}"


# --- what steps cost here -------------------------------------------------------------------------------------------


def measured() -> str:
    """CPU time of one core of this machine, beside what is stated."""
    torch.set_num_threads(1)
    task = load_task("digits")
    theta = first_weights(stream_key(b"virtual-time"), task.layout)
    batch = task.draw_batch(bytes(32))
    key = noise_key(bytes(32), bytes(32), bytes(32))
    children: Float32Array = np.empty((64, len(theta)), dtype=np.float32)

    def rank() -> None:
        fill_children(children, theta, key, 0, np.float32(0.03))
        task.scores(children, batch[:128])

    sample_us = _cost_us(rank) / (64 * 128)
    entry_us = _cost_us(lambda: task.scores(children[:26], batch)) / (26 * len(batch))
    canonical_us = _cost_us(lambda: task.fitness(theta, batch)) / len(batch)
    metrics_us = _cost_us(lambda: task.metrics(theta))
    found = (
        f"ranking {sample_us:.2f} us, entries {entry_us:.2f} us, canonical {canonical_us:.2f} us, metrics {metrics_us:.0f} us"
    )
    return f"{found}; stated: {DIGITS}"


def _cost_us(action: Callable[[], object]) -> float:
    """The median of many."""
    found = []
    for _ in range(40):
        began = time.process_time()
        action()
        found.append(time.process_time() - began)
    return 1_000_000 * statistics.median(found)


if __name__ == "__main__":
    main()
