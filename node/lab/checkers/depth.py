"""Proof of work: what is final lies deep enough below the head, and a head never moves to less work (docs/protocol.md, 5)."""

from dataclasses import dataclass

from consensus.effects import Record
from consensus.proof_of_work.header import BLOCK_CODEC, header_id
from consensus.types import NetworkId, PeerId
from learning.learner import AdoptRequest, FinaliseRequest
from node.lab.checkers.finding import Finding, Seen
from node.lab.checkers.one_signature import BLOCK_TABLE
from node.lab.checkers.work import HASHES
from node.runtime.coupling import AskLearner


@dataclass(frozen=True, slots=True)
class _Block:
    """`work`: of it and all blocks below it, from genesis on."""

    parent: bytes
    height: int
    work: int


class FinalIsDeep:
    """Within an incarnation: after a restart the head may be lower, as a disk may have lost the newest blocks."""

    name = "what is final lies deep below a head that gains work"
    reads = (Record, AdoptRequest, FinaliseRequest)

    def __init__(self, network_id: NetworkId, finality_depth: int, genesis: bytes) -> None:
        self._network_id = network_id
        self._finality_depth = finality_depth
        self._blocks = {genesis: _Block(genesis, 0, 0)}
        self._heads: dict[PeerId, tuple[bytes, Seen]] = {}

    def see(self, seen: Seen) -> Finding | None:
        """A block, a head that moves, or a step that is final from now on."""
        match seen.event:
            case Record(table, key, value) if table == BLOCK_TABLE and key[8:] not in self._blocks:
                self._note(value)
            case AskLearner(AdoptRequest(step)):
                return self._on_adopted(step, seen)
            case AskLearner(FinaliseRequest(step)):
                fault = self._fault_of_final(step, seen)
                return None if fault is None else Finding(self.name, f"step {step.hex()[:8]} is final {fault}", (seen,))
        return None

    def _note(self, value: bytes) -> None:
        """A block without its parent is WorkAddsUp's to tell of."""
        header = BLOCK_CODEC.decode(value).header
        parent = self._blocks.get(header.parent)
        if parent is not None:
            work = HASHES // (int.from_bytes(header.target, "big") + 1)
            self._blocks[header_id(self._network_id, header)] = _Block(header.parent, header.height, parent.work + work)

    def _on_adopted(self, step: bytes, seen: Seen) -> Finding | None:
        before, earlier = self._heads.get(seen.peer, (step, seen))
        self._heads[seen.peer] = (step, seen)
        new, old = self._blocks.get(step), self._blocks.get(before)
        if new is None or old is None or earlier.incarnation != seen.incarnation or new.work >= old.work:
            return None
        detail = f"the head moves from work {old.work} at height {old.height} to work {new.work} at height {new.height}"
        return Finding(self.name, detail, (earlier, seen))

    def _fault_of_final(self, final: bytes, seen: Seen) -> str | None:
        head, earlier = self._heads.get(seen.peer, (b"", seen))
        block = self._blocks.get(head)
        if block is None or earlier.incarnation != seen.incarnation:
            return "without a head"
        head_height = block.height
        while head != final and block.height > 0:
            head = block.parent
            block = self._blocks[head]
        if head != final:
            return "and not below the head"
        depth = head_height - block.height
        return None if depth >= self._finality_depth else f"{depth} below the head, allowed: {self._finality_depth} or more"
