"""The rule that needs scores: known by name, and by gradients alone it moves nothing."""

from learning.aggregation.catalogue import RULES, needs_scores, rule_named
from learning.aggregation.rule import GradientOutcome
from learning.aggregation.scored import Scored
from tests.learning.gradient.tiny import Network, group_of


def test_scored_alone_needs_scores() -> None:
    assert [name for name in RULES if needs_scores(name)] == ["scored"]
    assert rule_named("scored") == Scored()


def test_gradients_alone_move_nothing() -> None:
    network = Network(Scored(), group_of(4))
    outcomes = [network.deliver(place, [1, 2, 3]).outcome for place in range(4)]
    assert (outcomes, network.ledger.version) == ([GradientOutcome.COLLECTED] * 4, 0)
