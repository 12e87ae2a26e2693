"""Every block above the final one, with what it takes to apply it again; states are rebuilt when they are not at hand."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from learning.gradient.blocks import BlockState, Scribe
from learning.gradient.held_bytes import Array, HeldBytes
from learning.kept_states import least_missed
from learning.learner import SignedPayload
from learning.state import StoredStateError

BLOCKS_MAX = 8_192
"""Each has cost its leader a block's work, and lists up to 64 contributions of some 300 bytes; an honest branch is a few
hundred long."""

STATES_BYTES_MAX = 128 * 2**20
"""States at hand, the final one among them; what several share is counted once."""

STATES_MIN = 2
"""However large a model is, the states of a block and of its parent are both at hand, beside the final one."""

PAST_MODEL_BYTES = 8
"""A reference in the tuple of past models, which no two versions share."""


@dataclass(frozen=True, slots=True)
class KnownBlock:
    """A block that can be applied again to its parent's state."""

    id: bytes
    parent: bytes
    height: int
    leader: bytes
    contributions: tuple[SignedPayload, ...]
    state_digest: bytes


class Branches:
    """A tree of blocks; its root is the newest final one, whose state is always kept.

    The states at hand take at most `bytes_max`, or are the root's and STATES_MIN more: whatever the finality depth and the size
    of the model. What it takes to rebuild the others is the contributions of the blocks, which are held here, and their large
    payloads, which the shell holds: under proof of work it forgets none.
    """

    def __init__(self, scribe: Scribe, root: KnownBlock, state: BlockState, bytes_max: int = STATES_BYTES_MAX) -> None:
        self._scribe = scribe
        self._blocks = {root.id: root}
        self._root = root
        self._root_state = state
        self._states: OrderedDict[bytes, BlockState] = OrderedDict()
        """By block, the least recently used first."""
        self._held = HeldBytes()
        self._held.add(_arrays(state))
        self._past_models = len(state.ledger.past)
        self._bytes_max = bytes_max

    @property
    def root(self) -> KnownBlock:
        """The newest final block."""
        return self._root

    @property
    def is_full(self) -> bool:
        """Whether no further block can be added until one is final."""
        return len(self._blocks) >= BLOCKS_MAX

    def find(self, block: bytes) -> KnownBlock | None:
        """The block of this id, if it is the root or above it."""
        return self._blocks.get(block)

    def add(self, block: KnownBlock, state: BlockState | None) -> None:
        """Remember a block on a known parent, and its state, or leave that to be rebuilt."""
        assert block.parent in self._blocks, "a block on an unknown parent"
        assert not self.is_full, f"more than {BLOCKS_MAX} blocks wait for finality"
        self._blocks[block.id] = block
        if state is not None:
            self._keep(block, state)

    def path(self, block: KnownBlock) -> Iterator[KnownBlock]:
        """From the block down to the first one above the root."""
        while block.id != self._root.id:
            yield block
            block = self._blocks[block.parent]

    def at_hand(self, block: KnownBlock) -> BlockState | None:
        """The state after the block, if it need not be rebuilt."""
        if block.id == self._root.id:
            return self._root_state
        if block.id not in self._states:
            return None
        self._states.move_to_end(block.id)
        return self._states[block.id]

    def state(self, block: KnownBlock) -> BlockState:
        """The state after the block, rebuilt from the nearest ancestor at hand.

        Raises StoredStateError when it is not the one that the block commits to: our records are damaged.
        """
        missing: list[KnownBlock] = []
        ancestor = block
        while (state := self.at_hand(ancestor)) is None:
            missing.append(ancestor)
            ancestor = self._blocks[ancestor.parent]
        for descendant in reversed(missing):
            state = self._scribe.applied(state, descendant.leader, descendant.contributions)
            if state.digest != descendant.state_digest:
                where = f"block {descendant.id.hex()} at height {descendant.height}"
                raise StoredStateError(f"{where} leads to another state than stored")
            self._keep(descendant, state)
        return state

    def finalise(self, block: KnownBlock) -> frozenset[bytes]:
        """Make the block the root; returns the ids that remain: it and its descendants."""
        state = self.state(block)
        kept = {block.id: block}
        for other in sorted(self._blocks.values(), key=lambda known: known.height):
            if other.parent in kept:
                kept[other.id] = other
        self._forget(self._root_state)
        self._held.add(_arrays(state))
        self._past_models += len(state.ledger.past)
        self._blocks, self._root, self._root_state = kept, block, state
        for gone in [known for known in self._states if known not in kept or known == block.id]:
            self._forget(self._states.pop(gone))
        return frozenset(kept)

    @property
    def bytes_at_hand(self) -> int:
        """What the states take that are at hand."""
        return self._held.total + PAST_MODEL_BYTES * self._past_models

    def _keep(self, block: KnownBlock, state: BlockState) -> None:
        if block.id in self._states:
            return
        self._states[block.id] = state
        self._held.add(_arrays(state))
        self._past_models += len(state.ledger.past)
        while len(self._states) > STATES_MIN and self.bytes_at_hand > self._bytes_max:
            at_hand = self._states.keys() | {self._root.id}
            older = tuple(self._states)[:-STATES_MIN]
            self._forget(self._states.pop(least_missed(older, at_hand, self._parent_of)))

    def _forget(self, state: BlockState) -> None:
        self._held.remove(_arrays(state))
        self._past_models -= len(state.ledger.past)

    def _parent_of(self, block: bytes) -> bytes:
        return self._blocks[block].parent


def _arrays(state: BlockState) -> Iterator[Array]:
    ledger = state.ledger
    yield ledger.parameters
    yield from ledger.memory.vectors
    yield from (slot.gradient.values for slot in ledger.memory.slots)
    yield from (past.parameters for past in ledger.past if past.parameters is not None)
