"""Reading back what was recorded, in both orders alike."""

from typing import TypeVar

import msgspec

from consensus.encoding import Codec, MalformedBytesError

T = TypeVar("T", bound=msgspec.Struct)


class CorruptRecordsError(Exception):
    """The records contradict themselves or cannot be read; the message says which one."""


def decode_record(codec: Codec[T], value: bytes, name: str) -> T:
    """What was recorded. Raises CorruptRecordsError, with the name of the record, when its bytes cannot be read."""
    try:
        return codec.decode(value)
    except MalformedBytesError as error:
        raise CorruptRecordsError(f"record of {name}: {error}") from error
