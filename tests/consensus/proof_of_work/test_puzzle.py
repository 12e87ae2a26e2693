from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.proof_of_work.puzzle import NONCES, is_solved, puzzle_digest, search_nonce

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
