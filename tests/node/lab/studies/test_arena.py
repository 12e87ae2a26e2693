"""The arena: deterministic, real parts, and attacks that attack."""

from collections import Counter
from decimal import Decimal

import pytest
import torch

from learning.aggregation.catalogue import RULES, rule_named
from learning.aggregation.rule import GradientOutcome
from learning.exact import round_factor
from learning.tasks.digits import digits_mlp
from learning.tasks.shards import parse_shards
from node.lab.faults.catalogue import parse_fault
from node.lab.studies.arena import Arena, ArenaRun, ArenaSettings

torch.set_num_threads(1)
TASK = digits_mlp()


def run(rule: str, deliveries: int, *, fault: str = "", liars: int = 0, **settings: float) -> ArenaRun:
    spec = parse_fault(fault) if fault else None
    rate = round_factor(Decimal(RULES[rule].learning_rate))
    seed, sigma = int(settings.get("seed", 0)), settings.get("speed_sigma", 0.0)
    lies_from = int(settings.get("lies_from", 0))
    return Arena(
        TASK,
        ArenaSettings(
            rule_named(rule),
            rate,
            parse_shards("iid"),
            workers=int(settings.get("workers", 16)),
            deliveries=deliveries,
            seed=seed,
            speed_sigma=sigma,
            fault=spec,
            liars=liars,
            lies_from=lies_from,
        ),
    ).run()


def outcomes_of(trace: ArenaRun, numbers: range) -> Counter[GradientOutcome]:
    counted: Counter[GradientOutcome] = Counter()
    for (number, outcome), count in trace.outcomes.items():
        if number in numbers:
            counted[outcome] += count
    return counted


def test_equal_settings_give_equal_runs() -> None:
    first, second = (run("robust", 60, speed_sigma=1.0) for _ in range(2))
    assert first.parameters.tobytes() == second.parameters.tobytes()
    assert (first.accuracy, first.outcomes, first.staleness) == (second.accuracy, second.outcomes, second.staleness)
    assert first.parameters.tobytes() != run("robust", 60, speed_sigma=1.0, seed=1).parameters.tobytes()


def test_staleness_arises_because_equal_workers_wait_for_nobody() -> None:
    trace = run("mean", 200)
    assert trace.version == 200
    assert trace.staleness.most_common(1)[0][0] == 15
    assert {number for number, _ in trace.outcomes} == set(range(16))


def test_a_fifth_of_sign_flips_times_ten_ruins_the_mean_and_not_the_robust_rule() -> None:
    attacked = {rule: run(rule, 400, fault="sign-flip:scale=10,fresh", liars=3) for rule in ("mean", "robust")}
    assert attacked["mean"].last_accuracy < 0.4
    assert attacked["robust"].last_accuracy > 0.85


@pytest.mark.parametrize("workers", [4, 7])
def test_the_same_rate_serves_small_groups_with_f_liars(workers: int) -> None:
    trace = run("robust", 40 * workers, workers=workers, fault="sign-flip:scale=10", liars=(workers - 1) // 3)
    assert trace.last_accuracy > 0.85


def test_f_silent_workers_stop_nothing() -> None:
    trace = run("robust", 300, fault="silent", liars=5)
    assert outcomes_of(trace, range(11, 16)) == Counter()
    assert trace.version == outcomes_of(trace, range(11))[GradientOutcome.APPLIED] > 250
    assert trace.last_accuracy > 0.8


def test_liars_are_honest_until_they_begin() -> None:
    honest, lying = run("mean", 64), run("mean", 64, fault="sign-flip:scale=10", liars=3, lies_from=64)
    assert honest.parameters.tobytes() == lying.parameters.tobytes()


def test_infinity_is_malformed_and_a_faithful_copy_counts_once() -> None:
    broken = outcomes_of(run("robust", 100, fault="nan", liars=2), range(14, 16))
    assert set(broken) == {GradientOutcome.MALFORMED}
    copied = outcomes_of(run("robust", 100, fault="mimic:noise=0", liars=2), range(14, 16))
    assert copied[GradientOutcome.COPY] > 5


def test_a_flood_names_each_model_once_and_delivers_ten_times_as_often() -> None:
    trace = run("robust", 400, fault="flood", liars=1)
    flood, others = outcomes_of(trace, range(15, 16)), outcomes_of(trace, range(15))
    assert 8 < flood.total() / (others.total() / 15) < 12
    assert flood[GradientOutcome.REPEATED] <= 10
