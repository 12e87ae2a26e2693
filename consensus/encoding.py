"""Canonical bytes: one value, one encoding (docs/protocol.md, 1).

msgspec accepts non-minimal integers; so what decodes must also encode back to the very same bytes (ADR 0002).
"""

from collections.abc import Iterable
from typing import Annotated, Generic, TypeVar

import msgspec

from consensus.types import DIGEST_BYTES, KEY_BYTES, SIGNATURE_BYTES

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
