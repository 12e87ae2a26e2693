"""Rules of a gradient network are taken as they are, or refused with the field, the value and the range."""

import numpy as np
import pytest

from learning.gradient.ledger import LedgerRules
from learning.gradient.rules import RulesError
from learning.gradient.worker import WorkerSettings
from tests.learning.gradient.quadratic import rules


def test_rules_say_what_the_ledger_and_a_worker_need() -> None:
    checked = rules("kardam", learning_rate="0.1", momentum="0.9", minibatch_size=32, bits=8, staleness_max=200)
    assert checked.ledger_rules() == LedgerRules(np.float32(0.10000038146972656), 200, 8)
    assert checked.worker_settings() == WorkerSettings(32, 0.9, 8)
    assert checked.named_rule().name == "kardam"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rule", "mode", 'rule is "mode": '),
        ("learning_rate", "0", 'learning_rate is "0", allowed is above 0, up to 100'),
        ("learning_rate", "100.1", 'learning_rate is "100.1", allowed is above 0, up to 100'),
        ("learning_rate", "NaN", 'learning_rate is "NaN", allowed is a finite decimal number'),
        ("learning_rate", "fast", 'learning_rate is "fast", allowed is a decimal number'),
        ("learning_rate", "1e-40", 'learning_rate is "1e-40": factor 1.000000e-40 is outside'),
        ("momentum", "1", 'momentum is "1", allowed is 0 or more, below 1'),
        ("momentum", "-0.1", 'momentum is "-0.1", allowed is 0 or more, below 1'),
        ("minibatch_size", 0, "minibatch_size is 0, allowed 1..65536"),
        ("bits", 12, "bits is 12, allowed 8 or 16"),
        ("staleness_max", 0, "staleness_max is 0, allowed 1..10000"),
        ("staleness_max", 10_001, "staleness_max is 10001, allowed 1..10000"),
        ("workers_window", 257, "workers_window is 257, allowed 1..256"),
        ("shards", "dirichlet:0", 'shards is "dirichlet:0"; allowed is'),
        ("shard_count", -1, "shard_count is -1, allowed 0..10000"),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: object, message: str) -> None:
    with pytest.raises(RulesError) as refused:
        rules(**({"rule": str(value)} if field == "rule" else {field: value}))
    assert str(refused.value).startswith(message)
