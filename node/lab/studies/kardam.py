"""The comparison of "Asynchronous Byzantine Machine Learning (the case of SGD)" at small scale, and what came after it.

Damaskinos, El Mhamdi, Guerraoui, Patra, Taziki, ICML 2018, arXiv 1802.07928. Four parts: the price of the filters (i),
dampening alone (ii), the time of the judge (iii), every rule under every attack (iv). Each part writes NAME.md, NAME.json and,
where there is something to draw, NAME.svg.
"""

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from consensus.total_order.committee import faulty_max
from learning.aggregation.catalogue import rule_named
from learning.aggregation.quantised import QuantisedGradient, quantise
from learning.aggregation.rule import ArrivedGradient, RuleMemory, Workers
from learning.gradient.ledger import AggregationState, PastModel
from learning.task import Float32Array, ParameterBlock
from node.lab.studies.cells import (
    ATTACKS,
    DAMPENINGS,
    DEFENCES,
    FAULTY_MAX,
    KARDAM,
    PART_I_RULES,
    RATES,
    STALENESS,
    WORKERS,
    Cell,
    CellResult,
    goal_deliveries,
    part_i_cells,
    part_ii_cells,
    part_iv_cells,
    speed_cells,
)
from node.lab.studies.plots import Line, check_request, line_plot, markdown_table, percent
from node.lab.studies.remembered import one_thread_processes

GRADIENTS_TIMED = 8
"""Once every worker has been heard twice."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """`milliseconds`: the median of one verdict."""

    rule: str
    parameters: int
    milliseconds: float


def judge_times(rules: tuple[str, ...], parameters: int) -> list[Overhead]:
    """Of gradients of random noise about a common direction, on one thread."""
    gradients = _gradients(parameters)
    return [Overhead(rule, parameters, _median_time(rule, gradients)) for rule in rules]


def _gradients(parameters: int) -> list[QuantisedGradient]:
    generator = np.random.default_rng(parameters)
    layout = (ParameterBlock("weight", (parameters,), 1),)
    common = generator.standard_normal(parameters, dtype=np.float32)
    found = []
    for _ in range(2 * WORKERS + GRADIENTS_TIMED):
        gradient = quantise(common + generator.standard_normal(parameters, dtype=np.float32), layout, 16)
        assert gradient is not None
        assert gradient.digest  # computed where it is decoded, not by the judge
        found.append(gradient)
    return found


def _median_time(name: str, gradients: list[QuantisedGradient]) -> float:
    """In milliseconds. The models that gradients name are equal but for one parameter: the judge reads all of them."""
    rule, memory = rule_named(name), RuleMemory()
    group = Workers(tuple(sorted(hashlib.blake2b(bytes([place])).digest() for place in range(WORKERS))), faulty_max(WORKERS))
    model: Float32Array = np.zeros(len(gradients[0].values), dtype=np.float32)
    past: list[PastModel] = [PastModel(0, b"", model)]
    times = []
    for version, gradient in enumerate(gradients):
        moved = model.copy()
        moved[version] = 1
        past.append(PastModel(version + 1, b"", moved))
        ledger = AggregationState(moved, tuple(past[-WORKERS - 2 :]), memory)
        arrival = ArrivedGradient(group.workers[version % WORKERS], ledger.version, ledger.version, gradient)
        start = time.perf_counter()
        memory = rule.judge(memory, arrival, group, ledger).memory
        times.append(1_000 * (time.perf_counter() - start))
    return statistics.median(times[-GRADIENTS_TIMED:])


PARTS = ("filters", "dampening", "overhead", "attacks")
"""Parts i to iv."""

MODEL_SIZES = (10_000, 100_000, 1_000_000)
"""Part iii: parameters."""

Tell = Callable[[str], None]
Results = Mapping[Cell, CellResult]
Run = Callable[[Sequence[Cell]], Results]


def reproduce_kardam(out: Path, seeds: int, processes: int, parts: tuple[str, ...], tell: Tell) -> None:
    """Write the tables and plots of `parts` to the folder `out`, telling each run as it ends.

    Runs are remembered in `out`/cells, so a second call goes on where the first was interrupted. Raises ReproduceError.
    """
    check_request(parts, PARTS, seeds, processes)
    out.mkdir(parents=True, exist_ok=True)

    def run(cells: Sequence[Cell]) -> Results:
        return KARDAM.results(cells, out / "cells", processes, tell)

    for part in parts:
        tell(f"part {part}")
        match part:
            case "filters":
                _filters(out, seeds, run)
            case "dampening":
                _dampening(out, seeds, run)
            case "overhead":
                _overhead(out, tell)
            case _:
                _attacks(out, seeds, run)
        tell(f"wrote {out / part}.md")


# --- part i ---------------------------------------------------------------------------------------------------------


def _filters(out: Path, seeds: int, run: Run) -> None:
    groups = part_i_cells(seeds)
    results = run([cell for cells in groups.values() for cell in cells])
    goals = {key: _goal(cells, results) for key, cells in groups.items()}
    rows, lines = [], []
    for name in PART_I_RULES:
        slowdowns = [goals[name, faulty_max] / goals[name, 0] for faulty_max in range(FAULTY_MAX + 1)]
        lines.append(Line(name, tuple((f / WORKERS, slowdown) for f, slowdown in enumerate(slowdowns))))
        for f, slowdown in enumerate(slowdowns):
            accepted = statistics.mean(results[cell].accepted_honest for cell in groups[name, f])
            rows.append((name, f"{f / WORKERS:.3f}", f"{goals[name, f]:.0f}", f"{slowdown:.2f}", percent(accepted)))
    lines.append(Line("bound 1 + f/n", tuple((f / WORKERS, 1 + f / WORKERS) for f in range(FAULTY_MAX + 1)), is_dashed=True))
    head = ("filters", "f/n", "deliveries to 90 %", "times those of f = 0", "accepted")
    title = "Deliveries to 90 % against f/n, nobody lies"
    _write(out, "filters", title, markdown_table(head, rows), [dict(zip(head, row, strict=True)) for row in rows])
    (out / "filters.svg").write_text(line_plot(title, "f/n", "times those of f = 0", lines))


def _goal(cells: Sequence[Cell], results: Results) -> float:
    """Median deliveries to the goal; a run that never got there counts all of its deliveries."""
    return statistics.median(goal_deliveries((results[cell] for cell in cells), cells[0].deliveries))


# --- part ii --------------------------------------------------------------------------------------------------------


def _dampening(out: Path, seeds: int, run: Run) -> None:
    groups = part_ii_cells(seeds)
    results = run([cell for cells in groups.values() for cell in cells])
    rows, lines = [], []
    for draw in STALENESS:
        for name in DAMPENINGS:
            goals = {rate: _goal(groups[draw, name, rate], results) for rate in RATES[name]}
            best = min(goals, key=lambda rate: goals[rate])
            accuracy = min(results[cell].accuracy for cell in groups[draw, name, best])
            rows.append((draw, name, best, f"{goals[best]:.0f}", percent(accuracy)))
            lines.append(Line(f"{name}, {draw}", tuple((float(rate), goal) for rate, goal in goals.items())))
    head = ("staleness", "dampening", "best rate", "deliveries to 90 %", "accuracy, worst seed")
    title = "Dampening alone, among honest workers, each at its own best rate"
    _write(out, "dampening", title, markdown_table(head, rows), [dict(zip(head, row, strict=True)) for row in rows])
    (out / "dampening.svg").write_text(line_plot("Dampening alone", "learning rate", "deliveries to 90 %", lines))


# --- part iii -------------------------------------------------------------------------------------------------------


def _overhead(out: Path, tell: Tell) -> None:
    found = []
    with one_thread_processes(1) as pool:
        for parameters in MODEL_SIZES:
            timed = pool.submit(judge_times, DEFENCES, parameters).result()
            tell(f"{parameters} parameters: {', '.join(f'{one.rule} {one.milliseconds:.1f} ms' for one in timed)}")
            found += timed
    rows = [(rule, *(f"{one.milliseconds:.2f}" for one in found if one.rule == rule)) for rule in DEFENCES]
    head = ("rule", *(f"{parameters:,} parameters" for parameters in MODEL_SIZES))
    title = f"Milliseconds to judge one gradient, n = {WORKERS}, one thread"
    _write(out, "overhead", title, markdown_table(head, rows), [asdict(one) for one in found])


# --- part iv --------------------------------------------------------------------------------------------------------


def _attacks(out: Path, seeds: int, run: Run) -> None:
    groups, speed = part_iv_cells(seeds), speed_cells(seeds)
    results = run([cell for cells in (*groups.values(), *speed.values()) for cell in cells])
    worst = {key: min(results[cell].accuracy for cell in cells) for key, cells in groups.items()}
    tables = [_speed_table(groups, speed, results)]
    for table, title in (("A", "3 liars of 16 from delivery 300 on"), ("B", "5 liars of 16 from the start, always fresh")):
        rows = [("nobody lies", *(percent(worst["-", "nobody lies", rule]) for rule in DEFENCES))]
        rows += [(attack, *(percent(worst[table, attack, rule]) for rule in DEFENCES)) for attack in ATTACKS]
        tables.append(f"## Table {table}: {title}\n\n{markdown_table(('attack', *DEFENCES), rows)}")
    triggered = {key: max(results[cell].backdoor_success for cell in groups[key]) for key in groups if key[1] == "backdoor"}
    rows = [(table, *(percent(triggered[table, "backdoor", rule]) for rule in DEFENCES)) for table in ("A", "B")]
    tables.append(f"## How often the backdoor's trigger succeeds, worst seed\n\n{markdown_table(('table', *DEFENCES), rows)}")
    title = f"Test accuracy after 2,000 deliveries, the worst of {seeds} seeds"
    facts = [{"cell": asdict(cell), "result": asdict(result)} for cell, result in results.items()]
    _write(out, "attacks", title, "\n".join(tables), facts)


def _speed_table(
    groups: Mapping[tuple[str, str, str], tuple[Cell, ...]], speed: Mapping[str, tuple[Cell, ...]], results: Results
) -> str:
    goals = [f"{_goal(groups['-', 'nobody lies', rule], results):.0f}" for rule in DEFENCES]
    times = [f"{_time(speed[rule], results):.1f}" if rule in speed else "" for rule in DEFENCES]
    rows = [("deliveries to 90 %, equal speeds", *goals), ("turns to 90 %, log-normal speeds, 5 silent", *times)]
    return f"## Speed, nobody lies, median of the seeds\n\n{markdown_table(('', *DEFENCES), rows)}"


def _time(cells: Sequence[Cell], results: Results) -> float:
    return statistics.median(results[cell].time_to_goal or float("inf") for cell in cells)


def _write(out: Path, name: str, title: str, text: str, facts: Sequence[Mapping[str, object]]) -> None:
    (out / f"{name}.md").write_text(f"# {title}\n\n{text}")
    (out / f"{name}.json").write_text(json.dumps({"title": title, "rows": list(facts)}, indent=1))
