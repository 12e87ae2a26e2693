"""The bytes of what a member measured of a slate: a fixed binary form, little-endian, one value one encoding.

Scores: version u8 | slate digest 32 bytes | number of values u16 | values i64 each.

Section 6 of docs/protocol.md.
"""

import struct
from dataclasses import dataclass

from learning.exact import FITNESS_LOWEST, FITNESS_MAX


class MalformedPayloadError(ValueError):
    """What a peer signed is no candidate, claim, step or scores; the message names field, value and the range allowed."""


MEMBERS_MAX = 500
"""Scores of a slate of 500 candidates and the parent take 4,044 bytes, and a submission has room for 4,096."""

VALUES_MAX = 507
"""What that room holds: 36 bytes, and 8 for each entry."""

SCORES_VERSION = 1

SCORES_KIND = 2
"""The first byte of a submission of scores; 1 is a candidate, 3 a gradient."""

_SCORES_HEAD = struct.Struct("<B32sH")
VALUE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Scores:
    """What a member measured. `values`: micro-units, one for each entry of the slate of this digest, in its order."""

    slate: bytes
    values: tuple[int, ...]


def encode_scores(scores: Scores) -> bytes:
    """35 bytes, and 8 for each entry of the slate."""
    head = _SCORES_HEAD.pack(SCORES_VERSION, scores.slate, len(scores.values))
    return head + struct.pack(f"<{len(scores.values)}q", *scores.values)


def decode_scores(data: bytes, values_max: int) -> Scores:
    """The inverse of encode_scores, of so many values at most. Raises MalformedPayloadError."""
    if len(data) < _SCORES_HEAD.size:
        raise MalformedPayloadError(f"scores of {len(data)} bytes, allowed {_SCORES_HEAD.size + VALUE_BYTES} or more")
    version, slate, count = _SCORES_HEAD.unpack_from(data)
    if version != SCORES_VERSION:
        raise MalformedPayloadError(f"scores version is {version}, allowed {SCORES_VERSION}")
    if not 1 <= count <= values_max:
        raise MalformedPayloadError(f"scores hold {count} values, allowed 1..{values_max}")
    expected = _SCORES_HEAD.size + VALUE_BYTES * count
    if len(data) != expected:
        raise MalformedPayloadError(f"scores of {len(data)} bytes, expected {expected} for {count} values")
    values: tuple[int, ...] = struct.unpack_from(f"<{count}q", data, _SCORES_HEAD.size)
    for value in values:
        if not FITNESS_LOWEST <= value <= FITNESS_MAX:
            raise MalformedPayloadError(f"score is {value}, allowed {FITNESS_LOWEST}..{FITNESS_MAX}")
    return Scores(slate, values)
