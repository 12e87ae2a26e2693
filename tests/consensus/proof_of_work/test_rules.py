from dataclasses import replace

import pytest

from consensus.rule_ranges import RulesError
from tests.consensus.proof_of_work.forge import RULES


def test_a_base_may_be_as_old_as_the_oldest_block_that_is_not_final() -> None:
    assert replace(RULES, base_age_max=RULES.finality_depth).base_age_max == 12
    assert RULES.base_age_max == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("block_interval_ms", 49, "block_interval_ms is 49, allowed: 50 to 86400000"),
        ("start_attempts", 0, f"start_attempts is 0, allowed: 1 to {2**64}"),
        ("puzzle_memory_kib", 7, "puzzle_memory_kib is 7, allowed: 8 to 4194304"),
        ("half_life_blocks", 0, "half_life_blocks is 0, allowed: 1 to 100000"),
        ("finality_depth", 513, "finality_depth is 513, allowed: 1 to 512"),
        ("contest_depth", 13, r"contest_depth is 13, allowed: 1 to finality_depth \(12\)"),
        ("future_limit_ms", -1, "future_limit_ms is -1, allowed: 0 to 86400000"),
        ("base_age_max", -1, "base_age_max is -1, allowed: 0 to 512"),
        ("base_age_max", 513, "base_age_max is 513, allowed: 0 to 512"),
        ("author_window", 4_097, "author_window is 4097, allowed: 0 to 4096"),
        ("base_age_max", 13, r"base_age_max is 13, allowed: 0 to finality_depth \(12\)"),
    ],
)
def test_a_rule_out_of_range_is_named_with_its_value_and_range(field: str, value: int, message: str) -> None:
    with pytest.raises(RulesError, match=message):
        replace(RULES, **{field: value})
