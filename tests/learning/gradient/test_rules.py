"""Rules of a gradient network are taken as they are, or refused with the field, the value and the range."""

import msgspec
import numpy as np
import pytest

from learning.gradient.ledger import LedgerRules
from learning.gradient.rules import GradientRules
from learning.gradient.worker import WorkerSettings
from tests.learning.gradient.quadratic import rules


def test_rules_say_what_the_ledger_and_a_worker_need() -> None:
    checked = rules("kardam", learning_rate="0.1", momentum="0.9", minibatch_size=32, bits=8, staleness_max=200)
    assert checked.ledger_rules() == LedgerRules(np.float32(0.10000038146972656), 200, 8)
    assert checked.worker_settings() == WorkerSettings(32, 0.9, 8)
    assert checked.named_rule().name == "kardam"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", "NaN"),
        ("learning_rate", "fast"),
        ("learning_rate", "1e-40"),
        ("momentum", "-0.1"),
        ("minibatch_size", 0),
        ("bits", 17),
        ("staleness_max", 0),
        ("staleness_max", 10_001),
        ("workers_window", 257),
        ("shard_count", -1),
    ],
)
def test_a_rule_that_is_read_has_its_range(field: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"`\$\.{field}`"):
        msgspec.convert({field: value}, GradientRules)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rule", "mode", 'rule: there is no rule "mode"'),
        ("learning_rate", "0", 'learning_rate is "0"; allowed is above 0, up to 100'),
        ("learning_rate", "100.1", 'learning_rate is "100.1"; allowed is above 0, up to 100'),
        ("momentum", "1", 'momentum is "1"; allowed is 0 or more, below 1'),
        ("bits", 12, "bits is 12; allowed is 8 or 16"),
        ("shards", "dirichlet:0", 'shards is "dirichlet:0"; allowed is'),
    ],
)
def test_what_no_range_shows_is_told(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rules(**({"rule": str(value)} if field == "rule" else {field: value}))
