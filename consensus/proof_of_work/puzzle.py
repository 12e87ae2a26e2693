"""The puzzle, and how hard the next one is (docs/protocol.md, 5).

Argon2id over a header's prefix and a nonce; the digest, as an integer, must not exceed the target. Memory-hard, so that a miner
written in Python is as good as a native one (RFC 9106; t = 1, one lane).

The difficulty is ASERT, in integers only. Source: M. Lundeberg, J. Toomim, "Absolutely scheduled exponentially rising targets"
(aserti3-2d, Bitcoin Cash, 2020).
"""

import hashlib

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from consensus.proof_of_work.rules import ProofOfWorkRules

NONCE_BYTES = 8
NONCES = 1 << 8 * NONCE_BYTES

_SALT_BYTES = 16
_DIGEST_BYTES = 32


def puzzle_digest(prefix: bytes, nonce: int, memory_kib: int) -> int:
    """Argon2id(secret = prefix || nonce, salt = start of BLAKE2b-256(prefix)) as an integer below 2**256, big endian.

    `nonce` is below NONCES; `memory_kib` is at least 8. Takes about 0.7 ms per MiB.
    """
    salt = hashlib.blake2b(prefix, digest_size=_DIGEST_BYTES).digest()[:_SALT_BYTES]
    function = Argon2id(salt=salt, length=_DIGEST_BYTES, iterations=1, lanes=1, memory_cost=memory_kib)
    return int.from_bytes(function.derive(prefix + nonce.to_bytes(NONCE_BYTES, "big")), "big")


def is_solved(prefix: bytes, nonce: int, target: int, memory_kib: int) -> bool:
    """Whether the nonce solves the puzzle of this prefix."""
    return puzzle_digest(prefix, nonce, memory_kib) <= target


def search_nonce(prefix: bytes, target: int, memory_kib: int, first_nonce: int, attempts: int) -> int | None:
    """The first solving nonce among `attempts` consecutive ones from `first_nonce` on (modulo NONCES), or None.

    A miner calls it for a few attempts at a time and looks between the calls whether it should stop.
    """
    for offset in range(attempts):
        nonce = (first_nonce + offset) % NONCES
        if is_solved(prefix, nonce, target, memory_kib):
            return nonce
    return None


TARGET_BYTES = 32
HASHES = 2**256
TARGET_MAX = HASHES - 1
"""Every digest solves it."""

_FRACTION_BITS = 16


def start_target(start_attempts: int) -> int:
    """The target of block 1: about `start_attempts` hashes solve it."""
    return min(HASHES // start_attempts, TARGET_MAX)


def work_of(target: int) -> int:
    """Mean number of hashes that a digest at most `target` takes: the weight of a block in the choice of branches."""
    return HASHES // (target + 1)


def scaled_target(start: int, drift_ms: int, half_life_ms: int) -> int:
    """start * 2**(drift / half-life), within [1, TARGET_MAX], to about 0.013 %.

    `drift_ms`: how far the chain lags behind its schedule; negative when it is ahead.
    """
    exponent = (drift_ms << _FRACTION_BITS) // half_life_ms
    shift = exponent >> _FRACTION_BITS
    if shift > 8 * TARGET_BYTES:  # no giant integers, whatever times a peer claims
        return TARGET_MAX
    if shift < -8 * TARGET_BYTES:
        return 1
    scaled = start * _power_of_two(exponent & ((1 << _FRACTION_BITS) - 1))
    shift -= _FRACTION_BITS
    target = scaled << shift if shift >= 0 else scaled >> -shift
    return max(1, min(target, TARGET_MAX))


def pause_ms_max(rules: ProofOfWorkRules) -> int:
    """A gap between two blocks counts for at most this long.

    A longer one means that the whole network was off; counted in full, it would be followed by as many almost free
    blocks as would have fitted into it. One half-life: a pause at most halves the difficulty.
    """
    return rules.half_life_ms


def _power_of_two(fraction: int) -> int:
    """65536 * 2**(fraction / 65536) by the cubic of aserti3-2d; `fraction` is below 65536."""
    cubic = 195_766_423_245_049 * fraction + 971_821_376 * fraction**2 + 5_127 * fraction**3
    return (1 << _FRACTION_BITS) + ((cubic + (1 << 47)) >> 48)
