"""The cells of the tables, one run each, and which of them each part of the comparison needs."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from functools import lru_cache

import numpy as np
import torch

from consensus.total_order.committee import faulty_max
from learning.aggregation.catalogue import RULES, rule_named
from learning.aggregation.rule import GradientOutcome
from learning.exact import round_factor
from learning.gradient.worker import WorkerSettings
from learning.task import Float32Array, differentiable
from learning.tasks.digits import digits_mlp, digits_samples, perceptron
from learning.tasks.shards import parse_shards
from learning.tasks.supervised import Samples, SupervisedTask
from node.lab.faults.catalogue import parse_fault
from node.lab.faults.gradient.attacks import triggered
from node.lab.studies.arena import Arena, ArenaRun, ArenaSettings
from node.lab.studies.remembered import Study

WIDTHS = (64, 32, 10)
"""Those of the task "digits-mlp"."""


class BackdoorGauge:
    """Counts the test images of other classes than `target` that are taken for it once they carry the trigger."""

    def __init__(self, target: int) -> None:
        train, test = digits_samples()
        others = test.labels != target
        inputs = triggered(test.inputs[others])
        wanted = np.full(len(inputs), target, dtype=np.int64)
        self._task = SupervisedTask("digits-mlp-triggered", perceptron(WIDTHS), "cross_entropy", train, Samples(inputs, wanted))

    def success(self, parameters: Float32Array) -> float:
        """As a share, 0..1."""
        return self._task.metrics(parameters)["test_accuracy"]


CELL_VERSION = 1
"""Raised when the same cell would run otherwise: remembered results of before then count no more."""

BACKDOOR_TARGET = 0
"""Class that the backdoor is to give."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run, in values that JSON holds."""

    rule: str
    learning_rate: str
    seed: int
    fault: str = ""
    """As `node.lab.faults.catalogue` reads it; empty: nobody lies."""
    liars: int = 0
    lies_from: int = 0
    workers: int = 16
    faulty_max: int = 5
    """f as the rule is told it."""
    deliveries: int = 2_000
    speed_sigma: float = 0.0
    momentum: float = 0.9
    shards: str = "iid"
    drawn_staleness: tuple[float, float] | None = None

    @property
    def key(self) -> str:
        """Names the file of its result."""
        text = json.dumps([CELL_VERSION, asdict(self)], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class CellResult:
    """What the tables need of a run."""

    accuracy: float
    """At the end, a share."""
    deliveries_to_goal: int | None
    time_to_goal: float | None
    versions: int
    accepted_honest: float
    """Share of the honest workers' deliveries that the rule took."""
    accepted_liars: float | None
    """The same of the liars', once they lie from the start; None where there are none."""
    staleness_mean: float
    backdoor_success: float


def run_cell(cell: Cell) -> CellResult:
    """Run it. Raises RuleError, FaultError or TaskError for texts that name nothing."""
    torch.set_num_threads(1)
    task = differentiable(_task())
    settings = ArenaSettings(
        rule_named(cell.rule),
        round_factor(Decimal(cell.learning_rate)),
        parse_shards(cell.shards),
        workers=cell.workers,
        faulty_max=cell.faulty_max,
        deliveries=cell.deliveries,
        seed=cell.seed,
        speed_sigma=cell.speed_sigma,
        fault=parse_fault(cell.fault) if cell.fault else None,
        liars=cell.liars,
        lies_from=cell.lies_from,
        worker=WorkerSettings(momentum=cell.momentum),
        drawn_staleness=cell.drawn_staleness,
    )
    return _result(cell, Arena(task, settings).run())


def _result(cell: Cell, trace: ArenaRun) -> CellResult:
    honest = range(cell.workers - cell.liars)
    liars = range(cell.workers - cell.liars, cell.workers)
    judged = sum(trace.staleness.values())
    return CellResult(
        accuracy=trace.last_accuracy,
        deliveries_to_goal=trace.deliveries_to_goal,
        time_to_goal=trace.time_to_goal,
        versions=trace.version,
        accepted_honest=_accepted_share(trace, honest) or 0.0,
        accepted_liars=_accepted_share(trace, liars),
        staleness_mean=sum(staleness * count for staleness, count in trace.staleness.items()) / max(1, judged),
        backdoor_success=_gauge().success(trace.parameters),
    )


def _accepted_share(trace: ArenaRun, numbers: range) -> float | None:
    outcomes: Mapping[tuple[int, GradientOutcome], int] = trace.outcomes
    all_of_them = sum(count for (number, _), count in outcomes.items() if number in numbers)
    taken = sum(count for (number, outcome), count in outcomes.items() if number in numbers and outcome.is_accepted)
    return taken / all_of_them if all_of_them else None


@lru_cache(maxsize=1)
def _task() -> SupervisedTask:
    return digits_mlp()


@lru_cache(maxsize=1)
def _gauge() -> BackdoorGauge:
    return BackdoorGauge(BACKDOOR_TARGET)


# --- many cells -----------------------------------------------------------------------------------------------------


def _line(cell: Cell, result: CellResult) -> str:
    goal = "never" if result.deliveries_to_goal is None else f"after {result.deliveries_to_goal}"
    fault = cell.fault or "nobody lies"
    return f"{cell.rule}, {fault}, seed {cell.seed}: accuracy {result.accuracy:.3f}, 90 % {goal}"


KARDAM = Study(run_cell, CellResult, _line)


def goal_deliveries(results: Iterable[CellResult], never: int) -> list[int]:
    """Deliveries to the goal, ascending; `never` for runs that did not reach it."""
    return sorted(result.deliveries_to_goal or never for result in results)


WORKERS = 16
FAULTY_MAX = faulty_max(WORKERS)

TABLE_A_LIARS, TABLE_A_FROM = 3, 300
"""Honest until the model has begun to learn; then 3 of 16 lie, with honest staleness."""

TABLE_B_LIARS = FAULTY_MAX
"""As many as the rule is told of, from the start, always on the newest model."""

ATTACKS = (
    "silent",
    "sign-flip:scale=1",
    "sign-flip:scale=10",
    "random:scale=10",
    "alie:z=-1.5",
    "alie:z=1.5",
    "ipm:epsilon=0.5",
    "ipm:epsilon=5",
    "mimic",
    "constant",
    "slow-drift",
    "label-flip",
    "replay",
    "flood",
    "nan",
    "min-max",
    "min-sum",
    "zero",
    "backdoor",
)
"""In the order of the tables."""

DEFENCES = ("robust", "buffered", "kardam", "dampened", "mean")
"""Their parameters and rates are the catalogue's."""

PART_I_RATE = "0.1"
"""The best of no defence; a rate tuned for each f would hide the slowdown."""

STALENESS = {"N(6,2)": (6.0, 2.0), "N(12,4)": (12.0, 4.0)}
"""Kardam, section 5: the draws of its experiments."""

DAMPENINGS = {
    "none": "dampened:dampening=none",
    "inverse (DynSGD)": "dampened:dampening=inverse",
    "exponential (Kardam)": "dampened:dampening=exponential",
}

RATES = {
    "none": ("0.05", "0.1", "0.2", "0.4"),
    "inverse (DynSGD)": ("0.4", "0.8", "1.6", "3.2"),
    "exponential (Kardam)": ("0.2", "0.4", "0.8", "1.6"),
}
"""Part ii: each is shown at its own best rate."""

PART_I_RULES = {"Lipschitz part alone": "kardam:frequency=off,dampening=none", "Kardam": "kardam:dampening=none"}
"""Without dampening, whose effect is part ii."""


def part_i_cells(seeds: int) -> dict[tuple[str, int], tuple[Cell, ...]]:
    """By rule and f: no liars, f is only what the rule is told."""
    return {
        (name, faulty_max): tuple(
            Cell(rule, PART_I_RATE, seed, faulty_max=faulty_max, deliveries=1_500) for seed in range(seeds)
        )
        for name, rule in PART_I_RULES.items()
        for faulty_max in range(FAULTY_MAX + 1)
    }


def part_ii_cells(seeds: int) -> dict[tuple[str, str, str], tuple[Cell, ...]]:
    """By draw, dampening and rate; workers without momentum, as in the paper."""
    return {
        (draw, name, rate): tuple(
            Cell(rule, rate, seed, deliveries=1_500, momentum=0.0, drawn_staleness=drawn) for seed in range(seeds)
        )
        for draw, drawn in STALENESS.items()
        for name, rule in DAMPENINGS.items()
        for rate in RATES[name]
    }


def part_iv_cells(seeds: int) -> dict[tuple[str, str, str], tuple[Cell, ...]]:
    """By table ("A", "B", or "-" without liars), attack and rule."""
    cells = {("-", "nobody lies", rule): _honest(rule, seeds) for rule in DEFENCES}
    for rule in DEFENCES:
        for attack in ATTACKS:
            fresh = f"{attack}{',' if ':' in attack else ':'}fresh"
            cells["A", attack, rule] = tuple(
                replace(cell, fault=attack, liars=TABLE_A_LIARS, lies_from=TABLE_A_FROM) for cell in _honest(rule, seeds)
            )
            cells["B", attack, rule] = tuple(replace(cell, fault=fresh, liars=TABLE_B_LIARS) for cell in _honest(rule, seeds))
    return cells


def speed_cells(seeds: int) -> dict[str, tuple[Cell, ...]]:
    """By rule: durations spread log-normally (sigma 1), f workers silent from the start."""
    return {
        rule: tuple(
            replace(cell, fault="silent", liars=FAULTY_MAX, speed_sigma=1.0, deliveries=1_500) for cell in _honest(rule, seeds)
        )
        for rule in ("mean", "robust")
    }


def _honest(rule: str, seeds: int) -> tuple[Cell, ...]:
    return tuple(Cell(rule, RULES[rule].learning_rate, seed) for seed in range(seeds))
