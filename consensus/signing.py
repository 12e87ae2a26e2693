"""What exactly is signed: domain tag, network id, content; so nothing can be replayed elsewhere (docs/protocol.md, 1)."""

import hashlib
from collections.abc import Callable
from enum import Enum
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consensus.types import DIGEST_BYTES, SIGNATURE_BYTES, Digest, NetworkId, PeerId

Signer = Callable[[Digest], bytes]
"""Signs a digest with this peer's key; Ed25519 signatures are deterministic, so a machine stays pure."""


class Domain(Enum):
    """The kinds of content that a peer signs; one tag each."""

    CONTRIBUTION = b"kubrat/contribution/2"
    HEADER = b"kubrat/header/1"
    HANDSHAKE = b"kubrat/handshake/1"
    DAG_BLOCK = b"kubrat/dag-block/1"
    COMMIT = b"kubrat/commit/1"  # hashed into the next commit and named in blocks, not signed by itself
    BODY = b"kubrat/body/1"  # hashed into the header, not signed by itself
    GENESIS = b"kubrat/genesis/1"  # derived by everybody, signed by nobody


def digest_of(domain: Domain, network_id: NetworkId, content: bytes) -> Digest:
    """BLAKE2b-256 over (length-prefixed tag, network id, content)."""
    tag = domain.value
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    hasher.update(bytes([len(tag)]) + tag + network_id + content)
    return Digest(hasher.digest())


SIGNATURES_REMEMBERED = 8_192
"""Answers, about 2 MB: a block is met with its header and with its body, a contribution alone and in blocks."""


@lru_cache(maxsize=SIGNATURES_REMEMBERED)
def is_signed_by(peer: PeerId, digest: Digest, signature: bytes) -> bool:
    """Whether `signature` is the peer's Ed25519 signature over `digest`; malformed keys and signatures are False.

    A pure function that takes 0.1 ms, so answers are remembered: the peers of a simulation share them.
    """
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(peer).verify(signature, digest)
    except (InvalidSignature, ValueError):
        return False
    return True
