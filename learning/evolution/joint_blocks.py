"""The joint rule under proof of work: what lists and blocks say, and what a block does to the state.

A list travels between blocks with the fitness that its author claims for its direction. The leader of a block names the lists
that it joins, and signs how: the exponent k, the share b of the path, and the fitness of child and parent. Whoever checks the
block rebuilds one model and measures it: whom the leader trusts is its own affair, its child has to be as good as it says.

List: version u8 | claimed fitness i64 | ranked list (`ranked_list`).
Claim: version u8 | child i64 | parent i64 | kind u8 (0 join, 1 head of the one list named) | k i8 | index of b u8.
Memory: version u8 | k i8 | the parameters before the last step, float32, or nothing. Little-endian; one value, one encoding.

Section 4 of docs/protocol.md.
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from learning.evolution.joint_step import (
    PATH_SHARES,
    SCALE_HIGHEST,
    SCALE_LOWEST,
    Children,
    EntryKind,
    JointEntry,
    JointRule,
    JointState,
)
from learning.evolution.ranked_list import RankedList, decode_list, encode_list
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.following.state_tree import Array
from learning.learner import AuthoredPayload, ProposedStep
from learning.model_consensus.slate import MalformedPayloadError
from learning.state import ModelState, StoredStateError, state_digest
from learning.task import Float32Array

LISTS_MAX = 32
"""In a block: a join of twice as many is hardly better than one of sixteen, and each list costs everybody its noise."""

LISTS_MIN = 4
"""However large a model is: what a few members find together."""

PARAMETERS_PER_MS = 10_000
"""Of one list's direction, summed up by one core; with other work beside it half as many."""

JOINT_VERSION = 2
"""The first byte; 1 is a candidate of one author (`payload`)."""

STATE_TAG = b"kubrat/joint-state/1"

_LIST_HEAD = struct.Struct("<Bq")
_CLAIM = struct.Struct("<BqqBbB")
_MEMORY = struct.Struct("<Bb")
_JOIN, _HEAD = 0, 1


def lists_max(parameters: int, check_ms: int) -> int:
    """How many lists a block may join, where a core may take about so long to check it."""
    return min(LISTS_MAX, max(LISTS_MIN, check_ms * PARAMETERS_PER_MS // parameters))


@dataclass(frozen=True, slots=True)
class ClaimedList:
    """What an author signs: its ranking, and the fitness of its direction on the scoring batch, in micro-units."""

    ranked: RankedList
    claimed_fitness: int


@dataclass(frozen=True, slots=True)
class JointClaim:
    """What the leader of a block signs: what it has made of the lists that it names; fitness in micro-units."""

    child_fitness: int
    parent_fitness: int
    scale: int
    """k, for the block's children, too."""
    share: float = 0.0
    is_head: bool = False


def encode_claimed_list(claimed: ClaimedList) -> bytes:
    """11 bytes, and 2 for each index."""
    return _LIST_HEAD.pack(JOINT_VERSION, claimed.claimed_fitness) + encode_list(claimed.ranked)


def decode_claimed_list(data: bytes, length: int) -> ClaimedList:
    """The inverse of encode_claimed_list, of a list of this length. Raises MalformedPayloadError."""
    if len(data) < _LIST_HEAD.size:
        raise MalformedPayloadError(f"list of {len(data)} bytes, allowed {_LIST_HEAD.size} or more")
    version, fitness = _LIST_HEAD.unpack_from(data)
    _require("version of a list", version, JOINT_VERSION, JOINT_VERSION)
    _require("claimed_fitness", fitness, FITNESS_LOWEST, FITNESS_MAX)
    return ClaimedList(decode_list(data[_LIST_HEAD.size :], length), fitness)


def encode_joint_claim(claim: JointClaim) -> bytes:
    """20 bytes."""
    kind, share = (_HEAD if claim.is_head else _JOIN), PATH_SHARES.index(claim.share)
    return _CLAIM.pack(JOINT_VERSION, claim.child_fitness, claim.parent_fitness, kind, claim.scale, share)


def decode_joint_claim(data: bytes) -> JointClaim:
    """The inverse of encode_joint_claim. Raises MalformedPayloadError."""
    if len(data) != _CLAIM.size:
        raise MalformedPayloadError(f"claim of {len(data)} bytes, expected {_CLAIM.size}")
    version, child, parent, kind, scale, share = _CLAIM.unpack(data)
    _require("claim version", version, JOINT_VERSION, JOINT_VERSION)
    _require("child_fitness", child, FITNESS_LOWEST, FITNESS_MAX)
    _require("parent_fitness", parent, FITNESS_LOWEST, FITNESS_MAX)
    _require("kind of child", kind, _JOIN, _HEAD)
    _require("k", scale, SCALE_LOWEST, SCALE_HIGHEST)
    _require("index of the path's share", share, 0, 0 if kind == _HEAD else len(PATH_SHARES) - 1)
    return JointClaim(child, parent, scale, PATH_SHARES[share], kind == _HEAD)


def _require(field: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise MalformedPayloadError(f"{field} is {value}, allowed {lowest}..{highest}")


# --- state ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class JointModel:
    """The agreed state after a block."""

    model: ModelState
    before: Float32Array | None = None
    """The parameters before the last step, which led to other ones; None where there is no path."""
    scale: int = 0
    """k."""

    def one_higher(self, scale: int) -> "JointModel":
        """The same model after a block that changes nothing but k."""
        return JointModel(ModelState(self.model.parameters, self.model.height + 1), self.before, scale)


def encode_joint_memory(state: JointModel) -> bytes:
    """What is kept of a state besides its model."""
    before = b"" if state.before is None else state.before.astype("<f4", copy=False).tobytes()
    return _MEMORY.pack(JOINT_VERSION, state.scale) + before


def decode_joint_memory(data: bytes, model: ModelState) -> JointModel:
    """The inverse of encode_joint_memory, for a state of this model. Raises StoredStateError."""
    size = 4 * len(model.parameters)
    if len(data) not in {_MEMORY.size, _MEMORY.size + size} or data[0] != JOINT_VERSION:
        raise StoredStateError(f"the stored state remembers {len(data)} bytes of another form than this version reads")
    rest = data[_MEMORY.size :]
    before = np.frombuffer(rest, dtype="<f4").astype(np.float32) if rest else None
    return JointModel(model, before, _MEMORY.unpack_from(data)[1])


@dataclass(frozen=True, slots=True)
class DecodedBlock:
    """A block's step, of sound form."""

    claim: JointClaim
    lists: dict[bytes, RankedList]
    """By author, in the block's order; none for "no change"."""


class JointTransition:
    """Implements `learning.following.state_tree.Transition`. Holds nothing that changes."""

    def __init__(self, rule: JointRule, lists_max: int = LISTS_MAX) -> None:
        self._rule = rule
        self._lists_max = lists_max

    def decode(self, step: ProposedStep) -> DecodedBlock:
        """What a step says. Raises MalformedPayloadError where it can never be applied, whatever its parent is."""
        claim = decode_joint_claim(step.claim)
        if len(step.contributions) > self._lists_max:
            raise MalformedPayloadError(f"contributions: {len(step.contributions)}, allowed 0..{self._lists_max}")
        lists: dict[bytes, RankedList] = {}
        for contribution in step.contributions:
            if contribution.base != step.parent:
                raise MalformedPayloadError(f"contribution for base {contribution.base.hex()}, expected {step.parent.hex()}")
            if contribution.author in lists:
                raise MalformedPayloadError(f"two lists of author {contribution.author.hex()}, allowed one")
            lists[contribution.author] = self.claimed_list(contribution).ranked
        if claim.is_head and len(lists) != 1:
            raise MalformedPayloadError(f"the best mutation of {len(lists)} lists, expected one list")
        if claim.share and not lists:
            raise MalformedPayloadError("a share of the path without a list, allowed with one or more")
        return DecodedBlock(claim, lists)

    def claimed_list(self, contribution: AuthoredPayload) -> ClaimedList:
        """What a contribution offers. Raises MalformedPayloadError."""
        if contribution.attached:
            raise MalformedPayloadError(f"attachments: {len(contribution.attached)}, allowed 0")
        return decode_claimed_list(contribution.payload, self._rule.list_length)

    def child(self, parent: bytes, state: JointModel, block: DecodedBlock) -> JointModel:
        """The state after a block on the step `parent`. Raises MalformedPayloadError where its claim does not fit `state`."""
        claim = block.claim
        begins_anew = state.scale == SCALE_HIGHEST and claim.scale == 0
        if abs(claim.scale - state.scale) > 1 and not begins_anew:
            raise MalformedPayloadError(f"k is {claim.scale}, allowed {state.scale - 1}..{state.scale + 1}")
        if claim.share and state.before is None:
            raise MalformedPayloadError("a share of the path, and there is none: nothing has changed the model yet")
        height = state.model.height + 1
        if not block.lists:
            return JointModel(ModelState(state.model.parameters, height), state.before, claim.scale)
        kind = EntryKind.HEAD if claim.is_head else EntryKind.JOIN
        author = next(iter(block.lists)) if claim.is_head else None
        entry = JointEntry(bytes(32), kind, author, claim.scale, claim.share)
        children = Children(self._rule, parent, state.model, block.lists, JointState(state.before, state.scale))
        return JointModel(children.model(entry), state.model.parameters, claim.scale)

    def apply(self, state: JointModel, step: ProposedStep) -> JointModel:
        """The state after a step of sound form."""
        return self.child(step.parent, state, self.decode(step))

    def digest(self, state: JointModel) -> bytes:
        """BLAKE2b-256 over (length-prefixed tag, digest of the model, k, the parameters before the last step)."""
        hasher = hashlib.blake2b(bytes([len(STATE_TAG)]) + STATE_TAG + state_digest(state.model), digest_size=32)
        hasher.update(encode_joint_memory(state))
        return hasher.digest()

    def arrays(self, state: JointModel) -> Iterable[Array]:
        """The model before is its parent's, too."""
        return (state.model.parameters,) if state.before is None else (state.model.parameters, state.before)

    def own_bytes(self, state: JointModel) -> int:  # noqa: ARG002  Transition
        """None to speak of."""
        return 0
