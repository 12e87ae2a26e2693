"""The two rules that defend against nobody: each gradient is a step."""

import pytest

from learning.aggregation.dampened import Dampened
from learning.aggregation.mean import Mean
from learning.aggregation.rule import AggregationRule, GradientOutcome
from learning.aggregation.staleness import Dampening
from tests.learning.gradient.tiny import Network, group_of


@pytest.mark.parametrize(
    ("rule", "weight"),
    [
        (Mean(), 1.0),
        (Dampened(Dampening.NONE), 1.0),
        (Dampened(), 0.25),
        (Dampened(Dampening.EXPONENTIAL, "0.2"), 35967 / 65536),
    ],
)
def test_a_gradient_three_versions_old_moves_the_model_by_its_weight(rule: AggregationRule, weight: float) -> None:
    net = Network(rule, group_of(4), learning_rate=1.0)
    late = net.delivered(net.group.workers[0], (4.0, -4.0, 0.0))
    for _ in range(3):
        net.deliver(1, (0.0, 0.0, 0.0))
    before = net.ledger.parameters.copy()
    judged = net.advance(late)
    assert (judged.outcome, judged.staleness, judged.weights) == (GradientOutcome.APPLIED, 3, ((net.group.workers[0], weight),))
    assert (before - net.ledger.parameters).tolist() == [4 * weight, -4 * weight, 0.0]
