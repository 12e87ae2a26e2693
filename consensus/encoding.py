"""Canonical bytes: one value, one encoding (docs/protocol.md, 1); what exactly is signed, and how records are read back.

msgspec accepts non-minimal integers; so what decodes must also encode back to the very same bytes (ADR 0002). What is signed is
domain tag, network id, content; so nothing can be replayed elsewhere.
"""

import hashlib
from collections.abc import Callable, Iterable
from enum import Enum
from functools import lru_cache
from typing import Annotated, Generic, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consensus.types import DIGEST_BYTES, KEY_BYTES, SIGNATURE_BYTES, Digest, NetworkId, PeerId

T = TypeVar("T", bound=msgspec.Struct)

DigestBytes = Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
KeyBytes = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
SignatureBytes = Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

_encoder = msgspec.msgpack.Encoder()


class MalformedBytesError(ValueError):
    """Bytes that are not the canonical encoding of the expected type."""


def encode(value: msgspec.Struct) -> bytes:
    """The canonical MessagePack encoding of a frozen, array-like struct."""
    return _encoder.encode(value)


def fitting(values: Iterable[T], bytes_max: int) -> tuple[T, ...]:
    """The first of the values, as many as are encoded in so many bytes together; one at least, if there is any."""
    chosen: list[T] = []
    size = 0
    for value in values:
        size += len(encode(value))
        if chosen and size > bytes_max:
            break
        chosen.append(value)
    return tuple(chosen)


class Codec(Generic[T]):
    """Reads the canonical encoding of one struct type, or of a tagged union of them: `Codec[Message](Message)`."""

    def __init__(self, wanted: object) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(wanted)

    def decode(self, data: bytes) -> T:
        """The value that `data` canonically encodes.

        Raises MalformedBytesError when the bytes are truncated, of another type, out of bounds, or not canonical.
        """
        try:
            value = self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedBytesError(str(error)) from error
        if _encoder.encode(value) != data:
            raise MalformedBytesError("the encoding is not canonical")
        return value


class CorruptRecordsError(Exception):
    """The records contradict themselves or cannot be read; the message says which one."""


def decode_record(codec: Codec[T], value: bytes, name: str) -> T:
    """What was recorded. Raises CorruptRecordsError, with the name of the record, when its bytes cannot be read."""
    try:
        return codec.decode(value)
    except MalformedBytesError as error:
        raise CorruptRecordsError(f"record of {name}: {error}") from error


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
