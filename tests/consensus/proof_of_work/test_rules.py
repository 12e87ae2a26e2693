import msgspec
import pytest
from msgspec import structs

from consensus.proof_of_work.rules import ChainRules
from tests.consensus.proof_of_work.forge import RULES


def test_a_base_may_be_as_old_as_the_oldest_block_that_is_not_final() -> None:
    assert structs.replace(RULES, base_age_max=RULES.finality_depth).base_age_max == 12
    assert RULES.base_age_max == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("block_interval_ms", 49),
        ("start_attempts", 0),
        ("puzzle_memory_kib", 7),
        ("half_life_blocks", 1),
        ("finality_depth", 513),
        ("contest_depth", 0),
        ("future_limit_ms", 99),
        ("minimum_work", -1),
    ],
)
def test_a_rule_that_is_read_has_its_range(field: str, value: int) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"`\$\.{field}`"):
        msgspec.convert({field: value}, ChainRules)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("contest_depth", 12, r"contest_depth is 12; allowed is 1 to 11, below finality_depth"),
        ("base_age_max", -1, r"base_age_max is -1; allowed is 0 to finality_depth \(12\)"),
        ("base_age_max", 13, r"base_age_max is 13; allowed is 0 to finality_depth \(12\)"),
    ],
)
def test_rules_that_contradict_each_other_are_told(field: str, value: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        structs.replace(RULES, **{field: value})
