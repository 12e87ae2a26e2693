"""Proof of work from scratch: times, targets and work of every block; and what is final lies deep enough below the head.

Worked out anew from each block's ancestors' headers: written from docs/protocol.md (section 5) and decision 0007 alone, in
50-digit decimals over the whole branch; the node goes from link to link in integers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext

from consensus.effects import Record, Send
from consensus.encoding import MalformedBytesError
from consensus.proof_of_work.header import BLOCK_CODEC, Header, header_id
from consensus.proof_of_work.messages import MESSAGE_CODEC, Tip
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.types import NetworkId, PeerId
from learning.learner import AdoptRequest, FinaliseRequest
from node.lab.checkers.finding import Finding, Seen
from node.lab.checkers.one_signature import BLOCK_TABLE
from node.runtime.coupling import AskLearner

HASHES = 2**256

TARGET_ERROR = Decimal("0.0002")
"""The cubic of aserti3-2d is off by at most 0.013 % of the power of two that it stands for."""

MEDIAN_BLOCKS = 11


@dataclass(frozen=True, slots=True)
class _Known:
    """A recorded block: its header, and the work up to it, counted from genesis when it was first seen."""

    header: Header
    work: int


class WorkAddsUp:
    """Follows every block that an honest peer records, and every tip that it tells of."""

    name = "targets, times and work follow from the ancestors"
    reads = (Record, Send)

    def __init__(self, network_id: NetworkId, rules: ProofOfWorkRules, genesis: bytes) -> None:
        self._network_id = network_id
        self._rules = rules
        self._genesis = genesis
        self._blocks: dict[bytes, _Known] = {}

    def see(self, seen: Seen) -> Finding | None:
        """A block that was found worth checking, or a tip with the work that it claims."""
        match seen.event:
            case Record(table, _, value) if table == BLOCK_TABLE:
                header = BLOCK_CODEC.decode(value).header
                step = header_id(self._network_id, header)
                fault = None if step in self._blocks else self._add(step, header)
                return None if fault is None else Finding(self.name, f"block {step.hex()[:8]}: {fault}", (seen,))
            case Send(_, message) if len(message) > 1 and message[1] == 2:  # a Tip's tag, after the array's head
                return self._on_message(message, seen)
        return None

    def _on_message(self, message: bytes, seen: Seen) -> Finding | None:
        try:
            tip = MESSAGE_CODEC.decode(message)
        except MalformedBytesError:
            return None
        if not isinstance(tip, Tip) or tip.step not in self._blocks:
            return None
        known, told = self._blocks[tip.step], int.from_bytes(tip.work, "big")
        if (told, tip.height) == (known.work, known.header.height):
            return None
        detail = f"told of work {told} at height {tip.height}, counted {known.work} at height {known.header.height}"
        return Finding(self.name, detail, (seen,))

    def _add(self, step: bytes, header: Header) -> str | None:
        """Note the block; what is wrong with it, if anything."""
        parent = self._blocks.get(header.parent)
        if parent is None and header.parent != self._genesis:
            return f"its parent {header.parent.hex()[:8]} is not recorded"
        target = int.from_bytes(header.target, "big")
        work = (0 if parent is None else parent.work) + HASHES // (target + 1)
        self._blocks[step] = _Known(header, work)
        branch = list(self._branch(header))
        if header.height != len(branch):
            return f"height is {header.height}, counted {len(branch)}"
        return self._time_fault(branch) or self._target_fault(branch)

    def _branch(self, header: Header) -> Iterator[Header]:
        """The header and its ancestors, down to block 1."""
        yield header
        while header.parent != self._genesis:
            header = self._blocks[header.parent].header
            yield header

    @staticmethod
    def _time_fault(branch: list[Header]) -> str | None:
        before = sorted(header.time_ms for header in branch[1 : 1 + MEDIAN_BLOCKS])
        if before and branch[0].time_ms <= before[len(before) // 2]:
            return f"time is {branch[0].time_ms}, the median before it {before[len(before) // 2]}"
        return None

    def _target_fault(self, branch: list[Header]) -> str | None:
        target = int.from_bytes(branch[0].target, "big")
        expected = self._expected_target(branch[1:])
        with localcontext() as context:
            context.prec = 50
            error = abs(Decimal(target) / expected - 1)
        return None if error <= TARGET_ERROR else f"target is {target:#x}, counted {int(expected):#x}"

    def _expected_target(self, ancestors: list[Header]) -> Decimal:
        """start * 2**(lag / half-life): time since block 1, by the latest time so far and gaps of at most a half-life."""
        rules = self._rules
        half_life_ms = rules.half_life_blocks * rules.block_interval_ms
        elapsed_ms, latest_ms = 0, ancestors[-1].time_ms if ancestors else 0
        for header in reversed(ancestors[:-1]):
            elapsed_ms += min(max(0, header.time_ms - latest_ms), half_life_ms)
            latest_ms = max(latest_ms, header.time_ms)
        lag_ms = elapsed_ms - rules.block_interval_ms * max(0, len(ancestors) - 1)
        with localcontext() as context:
            context.prec = 50
            start = min(Decimal(HASHES) / rules.start_attempts, Decimal(HASHES - 1))
            return max(Decimal(1), min(start * Decimal(2) ** (Decimal(lag_ms) / half_life_ms), Decimal(HASHES - 1)))


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
