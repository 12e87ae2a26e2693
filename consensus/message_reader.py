"""What a peer sends is read once, in both orders alike: what is no message of the protocol ends its connection."""

from typing import TypeVar

import msgspec

from consensus.effects import Offence, Refuse
from consensus.encoding import Codec, MalformedBytesError
from consensus.types import PeerId

M = TypeVar("M", bound=msgspec.Struct)

MESSAGE_OVERHEAD_MAX = 16
"""Tag, list and length bytes around a block that is a message of its own."""


def read_message(codec: Codec[M], peer: PeerId, data: bytes, bytes_max: int) -> M | Refuse:
    """The message, or why its sender is refused."""
    if len(data) > bytes_max:
        return Refuse(peer, Offence.OVERSIZED, f"message of {len(data)} bytes, allowed: {bytes_max}")
    try:
        return codec.decode(data)
    except MalformedBytesError as error:
        return Refuse(peer, Offence.MALFORMED, str(error))


def oversized_block(peer: PeerId, size: int, bytes_max: int) -> Refuse | None:
    """Why the sender of a message of `size` bytes that holds a single block is refused, if that is too large."""
    if size <= bytes_max + MESSAGE_OVERHEAD_MAX:
        return None
    return Refuse(peer, Offence.OVERSIZED, f"block of {size} bytes, allowed: {bytes_max}")
