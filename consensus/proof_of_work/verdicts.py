"""From a proven block to a checked one: bodies wait for their parent's verdict, then for their own."""

from dataclasses import dataclass

from consensus.encoding import encode
from consensus.faults import Accusation, Offence
from consensus.proof_of_work.archive import block_key
from consensus.proof_of_work.block_tree import Standing
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.header import Block, step_of
from consensus.protocol import Accuse, Check, Checked, Effect, Record, Refuse, Verdict
from consensus.types import Digest, Height, PeerId, StepId

BLOCK_TABLE = "block"
"""Key: block_key. Value: the canonical block. Written before the block is checked, so parents come before children."""

VERDICT_TABLE = "verdict"
"""Key: block id. Value: the verdict's word."""


@dataclass(frozen=True, slots=True)
class ChainStep:
    """A block for people: what it claims to lead to, and who led it."""

    height: Height
    id: StepId
    state_digest: Digest
    leader: PeerId


@dataclass(frozen=True, slots=True)
class _Unchecked:
    block: Block
    source: PeerId


class Verdicts:
    """The bodies that wait, and what is told of the checked blocks above the final one."""

    def __init__(self, chain: Chain, identity: PeerId) -> None:
        self._chain = chain
        self._identity = identity
        self._unchecked: dict[StepId, _Unchecked] = {}
        self._told: dict[StepId, ChainStep] = {}
        self.contested = 0
        """Blocks that we have contested since the start."""

    def body_arrived(self, step: StepId, block: Block, source: PeerId) -> tuple[Effect, ...]:
        """The sound body of a proven block: check it as soon as its parent is checked."""
        self._unchecked[step] = _Unchecked(block, source)
        return self.check(self._chain.tree.give_body(step))

    def body_restored(self, step: StepId, block: Block) -> tuple[Effect, ...]:
        """A block from our records that has no verdict yet; who had sent it is forgotten."""
        self._unchecked[step] = _Unchecked(block, self._identity)
        return self.check((step,)) if self._chain.tree.is_checked(StepId(block.header.parent)) else ()

    def check(self, steps: tuple[StepId, ...]) -> tuple[Effect, ...]:
        """Ask the learner about blocks whose parent is checked."""
        effects: list[Effect] = []
        for step in steps:
            block = self._unchecked[step].block
            effects.append(Record(BLOCK_TABLE, block_key(Height(block.header.height), step), encode(block)))
            effects.append(Check(step_of(step, block)))
        return tuple(effects)

    def judged(self, answer: Checked) -> tuple[Effect, ...]:
        """The learner's verdict; an answer that nobody waits for any more gives nothing."""
        if self._chain.tree.standing(answer.step) is not Standing.UNCHECKED:
            return ()
        unchecked = self._unchecked.pop(answer.step)
        self.contested += answer.verdict is Verdict.CONTESTED
        if answer.verdict is not Verdict.INVALID:
            self.tell(answer.step, unchecked.block)
        ready = self._chain.tree.judge(answer.step, answer.verdict)
        record = Record(VERDICT_TABLE, answer.step, answer.verdict.value.encode())
        return (record, *self._blame(answer, unchecked), *self.check(ready))

    def tell(self, step: StepId, block: Block) -> None:
        """Remember a checked block for people."""
        header = block.header
        self._told[step] = ChainStep(Height(header.height), step, Digest(block.body.state_digest), PeerId(header.leader))

    def told(self, step: StepId) -> ChainStep:
        """What people are told of a checked block that is still in the tree."""
        return self._told[step]

    def forget_dead(self) -> None:
        """Drop what belongs to no living block of the tree."""
        tree = self._chain.tree
        self._unchecked = {
            step: waiting for step, waiting in self._unchecked.items() if tree.standing(step) is Standing.UNCHECKED
        }
        self._told = {step: told for step, told in self._told.items() if step in tree}

    def _blame(self, answer: Checked, unchecked: _Unchecked) -> tuple[Effect, ...]:
        leader = PeerId(unchecked.block.header.leader)
        is_invalid = answer.verdict is Verdict.INVALID
        if leader == self._identity or not (is_invalid or answer.is_proven_lie):
            return ()
        offence = Offence.INVALID_STEP if is_invalid else Offence.FALSE_CLAIM
        accuse = Accuse(Accusation(leader, offence, answer.detail, encode(unchecked.block)))
        if is_invalid and unchecked.source == leader:
            return accuse, Refuse(leader, offence, answer.detail)
        return (accuse,)
