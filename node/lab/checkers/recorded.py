"""All that is recorded is what it says, looked at from scratch, once each.

It is signed by whom it names, every block's puzzle is solved, and a kept state's digest is that of its height and parameters.
"""

import hashlib
from collections.abc import Callable

from consensus.effects import Record
from consensus.encoding import is_signed_by
from consensus.proof_of_work.header import (
    BLOCK_CODEC,
    Header,
    body_digest,
    draft_of,
    header_id,
    is_signed_by_leader,
    puzzle_prefix,
)
from consensus.proof_of_work.records import BLOCK_TABLE
from consensus.steps import contribution_digest, is_authentic
from consensus.total_order.block import BLOCK_CODEC as DAG_BLOCK_CODEC
from consensus.total_order.block import block_digest
from consensus.total_order.records import VERTEX_TABLE
from consensus.types import NetworkId, PeerId
from learning.learner import StateKept
from learning.state import decode_kept_state
from node.lab.checkers.finding import Finding, Seen
from node.storage.tables import STATE_TABLE

IsSolved = Callable[[bytes, int, int], bool]
"""Whether the nonce solves the puzzle of a prefix, for a target: (prefix, nonce, target)."""


class SignedByMembers:
    """Total order. Items are signed by their block."""

    name = "every recorded block is signed by its author"
    reads = (Record,)

    def __init__(self, network_id: NetworkId, members: tuple[PeerId, ...]) -> None:
        self._network_id = network_id
        self._members = members
        self._right: dict[bytes, bytes] = {}
        """Value by key, so that what all peers hold is looked at once."""

    def see(self, seen: Seen) -> Finding | None:
        """A recorded block."""
        match seen.event:
            case Record(table, key, value) if table == VERTEX_TABLE and self._right.get(key) != value:
                self._right[key] = value
                fault = self._fault(key, value)
                return None if fault is None else Finding(self.name, fault, (seen,))
        return None

    def _fault(self, key: bytes, value: bytes) -> str | None:
        block = DAG_BLOCK_CODEC.decode(value)
        content, digest = block.content, block_digest(self._network_id, block.content)
        where = f"block {digest.hex()[:8]} (round {content.round}, member {content.author})"
        if content.round.to_bytes(8, "big") + content.author.to_bytes(4, "big") + digest != key:
            return f"{where} lies under the key of another"
        if content.author >= len(self._members):
            return f"{where} is by nobody"
        return None if is_signed_by(self._members[content.author], digest, block.signature) else f"{where} is not signed by him"


class ProvenBlocks:
    """Proof of work: header, body, contributions, puzzle."""

    name = "every recorded block is signed, proven, and holds what its header names"
    reads = (Record,)

    def __init__(self, network_id: NetworkId, is_solved: IsSolved) -> None:
        self._network_id = network_id
        self._is_solved = is_solved
        self._right: dict[bytes, bytes] = {}
        """Value by key, so that what all peers hold is looked at once."""

    def see(self, seen: Seen) -> Finding | None:
        """A recorded block."""
        match seen.event:
            case Record(table, key, value) if table == BLOCK_TABLE and self._right.get(key) != value:
                self._right[key] = value
                fault = self._fault(value)
                return None if fault is None else Finding(self.name, fault, (seen,))
        return None

    def _fault(self, value: bytes) -> str | None:
        block = BLOCK_CODEC.decode(value)
        header, step = block.header, header_id(self._network_id, block.header)
        where = f"block {step.hex()[:8]} (height {header.height})"
        if not is_signed_by_leader(step, header):
            return f"{where} is not signed by its leader"
        if body_digest(self._network_id, block.body) != header.body:
            return f"{where} has another body than its header names"
        for contribution in block.body.contributions:
            if not is_authentic(self._network_id, contribution):
                digest = contribution_digest(self._network_id, contribution)
                return f"{where} lists contribution {digest.hex()[:8]}, which its author has not signed"
        return None if self._is_proven(header) else f"{where} has no solved puzzle"

    def _is_proven(self, header: Header) -> bool:
        prefix = puzzle_prefix(self._network_id, draft_of(header))
        nonce, target = int.from_bytes(header.nonce, "big"), int.from_bytes(header.target, "big")
        return self._is_solved(prefix, nonce, target)


TAG = b"kubrat/state/1"


class StatesAddUp:
    """Where a digest covers what a rule remembers, too, as of gradients under proof of work, it is for the rule alone to read.

    `is_memory_covered`: such states are left out.
    """

    name = "a kept state's digest follows from its parameters"
    reads = (Record,)

    def __init__(self, *, is_memory_covered: bool) -> None:
        self._is_memory_covered = is_memory_covered

    def see(self, seen: Seen) -> Finding | None:
        """A kept state."""
        match seen.event:
            case Record(table, _, value) if table == STATE_TABLE:
                kept = decode_kept_state(value)
                if kept.memory and self._is_memory_covered:
                    return None
                counted = digest_from_scratch(kept)
                if counted != kept.state_digest:
                    detail = f"state at height {kept.height} says {kept.state_digest.hex()[:16]}, counted {counted.hex()[:16]}"
                    return Finding(self.name, detail, (seen,))
        return None


def digest_from_scratch(kept: StateKept) -> bytes:
    """BLAKE2b-256 over the length of the tag, the tag, the height (u64, little-endian) and the parameters as they are kept."""
    content = bytes([len(TAG)]) + TAG + kept.height.to_bytes(8, "little") + kept.parameters
    return hashlib.blake2b(content, digest_size=32).digest()
