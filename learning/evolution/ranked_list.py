"""A ranked list: which of its mutations an author found the best and the worst on one parent, and the direction that follows.

Its direction is sum(u_r s_r) / |u|, with the centred rank weights u = L-1, L-3, ..., -(L-1) over a list of length L: as long
as one mutation, whatever L is. Source: utilities by rank over all offspring, those of the worst negative (Wierstra et al.,
"Natural Evolution Strategies", JMLR 15, 2014; Salimans et al., arXiv 1703.03864), here integers, so that sums are exact.

Section 4 of docs/protocol.md.
"""

import struct
from dataclasses import dataclass
from functools import cache

from learning.evolution.recipe import first_repeated
from learning.exact import Int16Array, StreamKey, weighted_signs
from learning.model_consensus.slate import MalformedPayloadError

LIST_INDEX_MAX = 2**16
"""Indices lie below: two bytes each on the wire, a thousand times what is ranked for one parent by default."""

LIST_LENGTH_MAX = 64
"""Who ranks more lists the 32 best and the 32 worst: 128 bytes."""

LIST_VERSION = 1

_LIST_HEAD = struct.Struct("<BB")
INDEX_BYTES = 2


@dataclass(frozen=True, slots=True)
class RankedList:
    """Distinct mutation indices of one author on one parent, the best first, the worst last. Raises MalformedPayloadError."""

    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.indices) <= LIST_LENGTH_MAX:
            raise MalformedPayloadError(f"ranked list has {len(self.indices)} indices, allowed 1..{LIST_LENGTH_MAX}")
        for index in self.indices:
            if not 0 <= index < LIST_INDEX_MAX:
                raise MalformedPayloadError(f"index {index} in a ranked list, allowed 0..{LIST_INDEX_MAX - 1}")
        if len(set(self.indices)) != len(self.indices):
            raise MalformedPayloadError(f"index {first_repeated(self.indices)} twice in a ranked list, allowed once")

    @property
    def head(self) -> int:
        """The best mutation: the child of the published (1,λ)-search."""
        return self.indices[0]


def list_length(offspring: int) -> int:
    """How many indices each list of a network holds, which has its members rank λ = `offspring` mutations or more."""
    return min(offspring, LIST_LENGTH_MAX)


@cache
def centred_weights(length: int) -> tuple[int, ...]:
    """u by rank, the best first: in sum 0; (1,) for a single mutation."""
    return tuple(range(length - 1, -length, -2)) if length > 1 else (1,)


@cache
def squared_norm(length: int) -> int:
    """|u|**2, as an integer."""
    return sum(weight * weight for weight in centred_weights(length))


def direction_sum(ranked: RankedList, key: StreamKey, parameters: int) -> Int16Array:
    """sum(u_r s_r), exact; shape (parameters,), magnitudes at most L**2 / 2. `key`: its author's noise on the parent."""
    return weighted_signs(key, ranked.indices, centred_weights(len(ranked.indices)), parameters)


def encode_list(ranked: RankedList) -> bytes:
    """Version u8, number of indices u8, indices u16 each, little-endian."""
    return _LIST_HEAD.pack(LIST_VERSION, len(ranked.indices)) + struct.pack(f"<{len(ranked.indices)}H", *ranked.indices)


def decode_list(data: bytes, length: int) -> RankedList:
    """The inverse of encode_list, of a list of this length and no other. Raises MalformedPayloadError."""
    expected = _LIST_HEAD.size + INDEX_BYTES * length
    if len(data) != expected:
        raise MalformedPayloadError(f"ranked list of {len(data)} bytes, expected {expected} for {length} indices")
    version, count = _LIST_HEAD.unpack_from(data)
    if version != LIST_VERSION:
        raise MalformedPayloadError(f"version of a ranked list is {version}, allowed {LIST_VERSION}")
    if count != length:
        raise MalformedPayloadError(f"ranked list of {count} indices, expected {length}")
    return RankedList(struct.unpack_from(f"<{length}H", data, _LIST_HEAD.size))
