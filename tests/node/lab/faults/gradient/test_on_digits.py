"""Lies about classes, on data that has them: a third of the workers poisons its samples, always on the newest model."""

from decimal import Decimal

import torch

from learning.aggregation.catalogue import RULES, rule_named
from learning.exact import round_factor
from learning.tasks.digits import digits_mlp
from learning.tasks.shards import parse_shards
from node.lab.faults.catalogue import parse_fault
from node.lab.studies.arena import Arena, ArenaRun, ArenaSettings
from node.lab.studies.cells import BackdoorGauge

torch.set_num_threads(1)
TASK = digits_mlp()

DELIVERIES = 400


def learned(rule: str, fault: str, liars: int, workers: int) -> ArenaRun:
    settings = ArenaSettings(
        rule_named(rule),
        round_factor(Decimal(RULES[rule].learning_rate)),
        parse_shards("iid"),
        workers=workers,
        deliveries=DELIVERIES,
        fault=parse_fault(fault),
        liars=liars,
    )
    return Arena(TASK, settings).run()


def test_flipped_labels_cost_the_mean_a_fifth_of_its_accuracy_and_the_robust_rule_little() -> None:
    robust, mean = (learned(rule, "label-flip:fresh", liars=5, workers=16) for rule in ("robust", "mean"))
    assert robust.last_accuracy > 0.9
    assert mean.last_accuracy < 0.8


def test_a_backdoor_is_learned_by_the_mean_and_not_by_the_robust_rule() -> None:
    robust, mean = (learned(rule, "backdoor:fresh", liars=2, workers=7) for rule in ("robust", "mean"))
    trigger = BackdoorGauge(target=0)
    assert robust.last_accuracy > 0.9
    assert trigger.success(robust.parameters) < 0.1
    assert trigger.success(mean.parameters) > 0.8
