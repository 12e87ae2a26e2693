"""Which cells each part of the comparison needs."""

from dataclasses import replace

from consensus.total_order.committee import faulty_max
from learning.aggregation.catalogue import RULES
from node.lab.studies.cells import Cell

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
