"""What a worker submits to the order: the model it started from, and the name of the gradient that travels beside the order.

Section 7 of docs/protocol.md.
"""

from typing import Annotated

import msgspec

from learning.aggregation.quantised import PAYLOAD_DIGEST_BYTES
from learning.state import STATE_DIGEST_BYTES

VERSION_MAX = 2**62
"""Far beyond any run; still an integer for every decoder."""

GRADIENT_BYTES_MAX = 1 << 30
"""Of one encoded gradient: half a billion parameters."""


class GradientSubmission(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A claim that the gradient `payload` was computed on the model `base`."""

    base: Annotated[int, msgspec.Meta(ge=0, le=VERSION_MAX)]
    """Version of the model."""
    base_digest: Annotated[bytes, msgspec.Meta(min_length=STATE_DIGEST_BYTES, max_length=STATE_DIGEST_BYTES)]
    payload: Annotated[bytes, msgspec.Meta(min_length=PAYLOAD_DIGEST_BYTES, max_length=PAYLOAD_DIGEST_BYTES)]
    length: Annotated[int, msgspec.Meta(ge=1, le=GRADIENT_BYTES_MAX)]
    """Bytes of the payload."""


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(GradientSubmission)


def encode_submission(submission: GradientSubmission) -> bytes:
    """About 75 bytes."""
    return _ENCODER.encode(submission)


def decode_submission(payload: bytes) -> GradientSubmission | None:
    """The submission, or None for bytes that are none, or not canonical."""
    try:
        submission = _DECODER.decode(payload)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    return submission if _ENCODER.encode(submission) == payload else None
