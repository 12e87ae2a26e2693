"""What a generation of the joint rule begins with besides the model, as kept and fetched: a fixed form, little-endian.

Memory: version u8 | k i8 | probation u8 for each member | is_silent u8 for each member | has_origin u8, origin's generation 32
bytes, its winner u16 | number of lists u16, for each: member's number u16, list (`ranked_list`) | the parameters before the
last step, float32, or nothing.

Section 6 of docs/protocol.md.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from learning.evolution.joint_step import JointRule, JointState
from learning.evolution.ranked_list import INDEX_BYTES, RankedList, decode_list, encode_list
from learning.model_consensus.slate import MalformedPayloadError
from learning.state import StoredStateError

MEMORY_VERSION = 2

_HEAD = struct.Struct("<Bb")
_ORIGIN = struct.Struct("<B32sH")
_NUMBER = struct.Struct("<H")
LIST_HEAD_BYTES = 2


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a generation comes from: the one before it, and what won there. Its late scores may still bring a list."""

    generation: bytes
    winner: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What a generation begins with."""

    state: JointState
    origin: Origin | None = None
    """None at genesis."""
    lists: Mapping[bytes, RankedList] = field(default_factory=dict)
    """Delivered before it began, by author, in that order."""
    silent: tuple[bytes, ...] = ()
    """Members of whom nothing was delivered in the generation before, in the order of their numbers."""


def memory_bytes_max(members: int, list_length: int) -> int:
    """The longest memory, but for the parameters."""
    lists = members * (_NUMBER.size + LIST_HEAD_BYTES + INDEX_BYTES * list_length)
    return _HEAD.size + 2 * members + _ORIGIN.size + _NUMBER.size + lists


def encode_memory(memory: Memory, rule: JointRule) -> bytes:
    """As above."""
    state, origin = memory.state, memory.origin or Origin(bytes(32), 0)
    numbers = {member: number for number, member in enumerate(rule.members)}
    lists = (_NUMBER.pack(numbers[author]) + encode_list(ranked) for author, ranked in memory.lists.items())
    return b"".join(
        (
            _HEAD.pack(MEMORY_VERSION, state.scale),
            bytes(state.probation),
            bytes(member in memory.silent for member in rule.members),
            _ORIGIN.pack(memory.origin is not None, origin.generation, origin.winner),
            _NUMBER.pack(len(memory.lists)),
            *lists,
            b"" if state.before is None else state.before.astype("<f4", copy=False).tobytes(),
        )
    )


def decode_memory(data: bytes, rule: JointRule, parameters: int) -> Memory:
    """The inverse of encode_memory, for a model of so many parameters. Raises StoredStateError."""
    reader = _Reader(data)
    version, scale = reader.unpack(_HEAD)
    if version != MEMORY_VERSION:
        raise StoredStateError(f"the stored state is of another form ({version}) than this version reads ({MEMORY_VERSION})")
    probation = tuple(reader.take(len(rule.members)))
    flags = reader.take(len(rule.members))
    if any(flag > 1 for flag in flags):
        raise StoredStateError(f"the stored state says {max(flags)} of whether a member is silent, allowed 0 or 1")
    silent = tuple(member for member, is_silent in zip(rule.members, flags, strict=True) if is_silent)
    has_origin, generation, winner = _ORIGIN.unpack(reader.take(_ORIGIN.size))
    lists: dict[bytes, RankedList] = {}
    for _ in range(reader.unpack(_NUMBER)[0]):
        (number,) = reader.unpack(_NUMBER)
        if number >= len(rule.members):
            raise StoredStateError(f"the stored state names member {number}, the network has {len(rule.members)}")
        lists[rule.members[number]] = _stored_list(reader, rule.list_length)
    rest = reader.rest()
    if len(rest) not in {0, 4 * parameters}:
        raise StoredStateError(f"the stored state holds {len(rest)} bytes of an earlier model, expected 0 or {4 * parameters}")
    before = np.frombuffer(rest, dtype="<f4").astype(np.float32) if rest else None
    origin = Origin(generation, winner) if has_origin else None
    return Memory(JointState(before, scale, probation), origin, lists, silent)


def _stored_list(reader: "_Reader", length: int) -> RankedList:
    try:
        return decode_list(reader.take(LIST_HEAD_BYTES + INDEX_BYTES * length), length)
    except MalformedPayloadError as error:
        raise StoredStateError(f"the stored state holds a damaged list: {error}") from error


class _Reader:
    """Bytes from the front. Raises StoredStateError where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        taken = self._data[self._position : self._position + count]
        if len(taken) < count:
            raise StoredStateError(f"the stored state ends after {len(self._data)} bytes of what it remembers")
        self._position += count
        return taken

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        return form.unpack(self.take(form.size))

    def rest(self) -> bytes:
        return self._data[self._position :]
