""""""

from decimal import Decimal, localcontext

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.proof_of_work.puzzle import (
    HASHES,
    NONCES,
    TARGET_MAX,
    is_solved,
    puzzle_digest,
    scaled_target,
    search_nonce,
    start_target,
    work_of,
)

PREFIX = b"prefix" * 20


def test_the_digest_is_known() -> None:
    assert f"{puzzle_digest(PREFIX, 1, 8):064x}" == "8e43132e05fed147879517125896fa0330c91e06ec355cbf526f1e6200647fcc"
    assert puzzle_digest(PREFIX, NONCES - 1, 64) != puzzle_digest(PREFIX, NONCES - 1, 72)


def test_the_function_is_argon2id_of_rfc_9106() -> None:
    vector = Argon2id(
        salt=b"\x02" * 16, length=32, iterations=3, lanes=4, memory_cost=32, secret=b"\x03" * 8, ad=b"\x04" * 12
    ).derive(b"\x01" * 32)
    assert vector.hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"


@settings(max_examples=30)
@given(st.binary(min_size=1, max_size=200), st.integers(min_value=0, max_value=NONCES - 1))
def test_a_digest_solves_its_own_target_and_none_below(prefix: bytes, nonce: int) -> None:
    digest = puzzle_digest(prefix, nonce, 8)
    assert (is_solved(prefix, nonce, digest, 8), is_solved(prefix, nonce, digest - 1, 8)) == (True, False)


def test_the_search_finds_the_first_nonce_and_wraps_around() -> None:
    digests = {nonce: puzzle_digest(PREFIX, nonce % NONCES, 8) for nonce in range(NONCES - 3, NONCES + 10)}
    target = sorted(digests.values())[3]
    first = next(nonce for nonce, digest in digests.items() if digest <= target) % NONCES
    assert search_nonce(PREFIX, target, 8, NONCES - 3, 13) == first
    assert search_nonce(PREFIX, min(digests.values()) - 1, 8, NONCES - 3, 13) is None


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
