"""The puzzle: Argon2id over a header's prefix and a nonce; the digest, as an integer, must not exceed the target.

Memory-hard, so that a miner written in Python is as good as a native one (RFC 9106; t = 1, one lane; docs/protocol.md, 5).
"""

import hashlib

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

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
