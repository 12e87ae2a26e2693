from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from consensus.proof_of_work.difficulty import HASHES, TARGET_MAX, scaled_target, start_target, work_of

HALF_LIFE_MS = 30_000

starts = st.integers(min_value=1, max_value=2**64).map(start_target)
drifts = st.integers(min_value=-2_000_000, max_value=2_000_000)


def precise_target(start: int, drift_ms: int, half_life_ms: int) -> Decimal:
    """The formula itself, with 120 digits: start * 2 ** (drift / half-life)."""
    with localcontext() as context:
        context.prec = 120
        return Decimal(start) * Decimal(2) ** (Decimal(drift_ms) / Decimal(half_life_ms))


@given(starts, drifts, st.integers(min_value=50, max_value=10_000_000))
def test_the_target_is_the_formulas_to_two_parts_in_ten_thousand(start: int, drift_ms: int, half_life_ms: int) -> None:
    precise = min(Decimal(TARGET_MAX), precise_target(start, drift_ms, half_life_ms))
    assert abs(scaled_target(start, drift_ms, half_life_ms) - precise) <= max(Decimal(1), precise * Decimal("0.0002"))


@given(starts, drifts, st.integers(min_value=0, max_value=100_000))
def test_a_chain_that_lags_more_has_a_target_at_least_as_easy(start: int, drift_ms: int, more_ms: int) -> None:
    assert scaled_target(start, drift_ms, HALF_LIFE_MS) <= scaled_target(start, drift_ms + more_ms, HALF_LIFE_MS)


@given(starts, st.integers(min_value=-(2**80), max_value=2**80), st.integers(min_value=1, max_value=2**40))
def test_no_drift_leaves_the_range_of_targets(start: int, drift_ms: int, half_life_ms: int) -> None:
    assert 1 <= scaled_target(start, drift_ms, half_life_ms) <= TARGET_MAX


@given(starts)
def test_no_drift_no_change(start: int) -> None:
    assert scaled_target(start, 0, HALF_LIFE_MS) == start


@given(st.integers(min_value=2, max_value=2**64))
def test_whole_half_lives_double_and_halve_exactly(attempts: int) -> None:
    start = start_target(attempts)
    assert scaled_target(start, HALF_LIFE_MS, HALF_LIFE_MS) == min(2 * start, TARGET_MAX)
    assert scaled_target(start, -HALF_LIFE_MS, HALF_LIFE_MS) == start // 2


@given(st.integers(min_value=1, max_value=2**64))
def test_the_start_target_is_worth_the_attempts_that_it_is_made_of(attempts: int) -> None:
    assert work_of(start_target(attempts)) in (attempts - 1, attempts)


def test_work_is_at_least_one_hash() -> None:
    assert (work_of(TARGET_MAX), work_of(1)) == (1, HASHES // 2)


def test_known_targets_stay_as_they_are() -> None:
    start = start_target(32)
    drifts_ms = (-45_000, -1, 1, 7_500, 15_000, 29_999)
    assert [scaled_target(start, drift, HALF_LIFE_MS) * 10**6 // start for drift in drifts_ms] == [
        353_523,
        999_969,
        1_000_015,
        1_189_239,
        1_414_093,
        1_999_938,
    ]
