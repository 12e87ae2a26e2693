"""From a proven block to a checked one: bodies wait for their large payloads and their parent's verdict, then for their own.

What a learner finds wrong is held against who signed it, and payloads that nothing names any more are released.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from consensus.effects import Accusation, Accuse, Broadcast, Check, Effect, Offence, Refuse, ReleaseAttachments
from consensus.encoding import encode
from consensus.payload_requests import Need, PayloadRequests
from consensus.proof_of_work.block_tree import TREE_BLOCKS_MAX, BlockStatus
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.head_candidates import HeadCandidates
from consensus.proof_of_work.header import Block, NamedBlock, attachments_of, step_of
from consensus.proof_of_work.messages import BlockMessage
from consensus.proof_of_work.records import record_of_block, record_of_verdict
from consensus.protocol import Checked
from consensus.steps import Attachment, Contribution, Verdict
from consensus.types import Digest, Height, PeerId, StepId


def blame(
    author: PeerId, signed: Contribution | Block, verdict: Verdict, detail: str, *, refused: PeerId | None
) -> tuple[Effect, ...]:
    """Accuse the author by what it has signed, and refuse the peer that has brought it, if that is at fault, too."""
    offence = Offence.INVALID_STEP if verdict is Verdict.INVALID else Offence.FALSE_CLAIM
    accuse = Accuse(Accusation(author, offence, detail, encode(signed)))
    return (accuse,) if refused is None else (accuse, Refuse(refused, offence, detail))


class NamedPayloads:
    """Counts, for each payload, the contributions of the pool and the blocks of the tree that name it. Bounded by both."""

    def __init__(self) -> None:
        self._named: dict[bytes, tuple[Digest, ...]] = {}
        """By contribution or block."""
        self._counts: dict[Digest, int] = {}
        self._final: dict[Digest, None] = {}
        """Those that a final block names, while something else still does."""
        self._released: dict[bool, list[Digest]] = {True: [], False: []}
        """By whether a final block named them."""

    def name(self, namer: bytes, attachments: Iterable[Attachment]) -> None:
        """A contribution or a block names these. The same one again changes nothing."""
        digests = tuple(dict.fromkeys(payload.digest for payload in attachments))
        if not digests or namer in self._named:
            return
        self._named[namer] = digests
        for digest in digests:
            self._counts[digest] = self._counts.get(digest, 0) + 1

    def forget(self, namer: bytes, *, is_final: bool = False) -> None:
        """It names nothing any more that is still to be decided."""
        for digest in self._named.pop(namer, ()):
            self._counts[digest] -= 1
            if is_final:
                self._final[digest] = None
            if not self._counts[digest]:
                del self._counts[digest]
                was_final = digest in self._final
                self._final.pop(digest, None)
                self._released[was_final].append(digest)

    def digests(self) -> tuple[Digest, ...]:
        """The payloads that are named."""
        return tuple(self._counts)

    def take_released(self) -> tuple[ReleaseAttachments, ...]:
        """What nothing undecided names any more; told once. Newcomers will ask for what final blocks name."""
        effects = tuple(
            ReleaseAttachments(tuple(digest for digest in digests if digest not in self._counts), were_final)
            for were_final, digests in self._released.items()
            if digests
        )
        self._released = {True: [], False: []}
        return tuple(effect for effect in effects if effect.digests)


@dataclass(frozen=True, slots=True)
class ChainStep:
    """A block for people: what it claims to lead to, and who led it."""

    height: Height
    id: StepId
    state_digest: Digest
    leader: PeerId


@dataclass(frozen=True, slots=True)
class _Unchecked:
    named: NamedBlock
    source: PeerId
    is_news: bool
    """To be passed on, once we can answer for its payloads."""


class BlockChecks:
    """The bodies that wait, and what is told of the checked blocks above the final one."""

    def __init__(
        self, chain: Chain, identity: PeerId, wanted: PayloadRequests, named_payloads: NamedPayloads, candidates: HeadCandidates
    ) -> None:
        self._chain = chain
        self._candidates = candidates
        self._identity = identity
        self._wanted = wanted
        self._named_payloads = named_payloads
        self._unchecked: dict[StepId, _Unchecked] = {}
        self._behind: dict[StepId, None] = {}
        """Those that could be checked, but for their branch, which is too far behind the head."""
        self._looked_at = (-1, -1)
        """The versions of the tree and of what is ahead of it when it was last asked whether they still are."""
        self._chain_steps: dict[StepId, ChainStep] = {}
        self.contested = 0
        """Blocks that we have contested since the start."""

    def on_own_body(self, named: NamedBlock) -> tuple[Effect, ...]:
        """A block of our own, on top of the head; made of contributions whose payloads we hold."""
        self._unchecked[named.id] = _Unchecked(named, self._identity, is_news=False)
        self._named_payloads.name(named.id, attachments_of(named.block.body))
        return self.check(self._chain.tree.give_body(named.id))

    def on_body(self, named: NamedBlock, source: PeerId, *, is_news: bool) -> tuple[Effect, ...]:
        """The sound body of a proven block: check it as soon as its payloads are held and its parent is checked.

        What is new is passed on once its payloads are held: so who brings a block can be asked for them.
        """
        step, attachments = named.id, attachments_of(named.block.body)
        if len(self._unchecked) >= TREE_BLOCKS_MAX:  # the tree has made room, or is full of them
            self._forget_decided()
        self._unchecked[step] = _Unchecked(named, source, is_news)
        self._named_payloads.name(step, attachments)
        self._wanted.wait(step, attachments, source, Need.BLOCK)
        ready = self._chain.tree.give_body(step)
        return () if self._wanted.is_lacking(step) else (*self._pass_on(step), *self.check(ready))

    def on_attachments(self, step: StepId) -> tuple[Effect, ...]:
        """All large payloads of a block are here: it can be checked once its parent is."""
        tree = self._chain.tree
        if tree.status(step) is not BlockStatus.UNCHECKED:
            return ()
        is_ready = tree.is_checked(StepId(self._unchecked[step].named.header.parent))
        return (*self._pass_on(step), *self.check((step,) if is_ready else ()))

    def on_restored_body(self, named: NamedBlock) -> tuple[Effect, ...]:
        """A block from our records that has no verdict yet; its payloads were held then. Who had sent it is forgotten."""
        self._unchecked[named.id] = _Unchecked(named, self._identity, is_news=False)
        return self.check((named.id,)) if self._chain.tree.is_checked(StepId(named.header.parent)) else ()

    def check(self, steps: tuple[StepId, ...]) -> tuple[Effect, ...]:
        """Ask the learner about blocks whose parent is checked; not yet about those that lack a payload, or are far behind."""
        effects: list[Effect] = []
        for step in steps:
            if self._wanted.is_lacking(step):
                continue
            if not self._is_contender(step):
                self._behind[step] = None
                continue
            self._behind.pop(step, None)
            effects.extend(self._pass_on(step))
            named = self._unchecked[step].named
            effects.append(record_of_block(named))
            effects.append(Check(step_of(named.id, named.block)))
        return tuple(effects)

    def check_more(self) -> tuple[Effect, ...]:
        """Ask about what was far behind, and has caught up; called once after every input."""
        looked_at = (self._chain.tree.version, self._chain.ahead.version)
        if not self._behind or looked_at == self._looked_at:
            return ()
        self._looked_at = looked_at
        behind, self._behind = self._behind, {}
        return self.check(tuple(step for step in behind if self._chain.tree.status(step) is BlockStatus.UNCHECKED))

    def on_verdict(self, answer: Checked) -> tuple[Effect, ...]:
        """The learner's verdict; an answer that nobody waits for any more gives nothing."""
        if self._chain.tree.status(answer.step) is not BlockStatus.UNCHECKED:
            return ()
        unchecked = self._unchecked.pop(answer.step)
        self.contested += answer.verdict in (Verdict.CONTESTED, Verdict.REFUTED)
        if answer.verdict is not Verdict.INVALID:
            self.remember(answer.step, unchecked.named.block)
        ready = self._chain.tree.judge(answer.step, answer.verdict)
        if answer.verdict is Verdict.INVALID:
            self._named_payloads.forget(answer.step)
            self._forget_decided()
        record = record_of_verdict(answer.step, answer.verdict)
        return (record, *self._blame(answer, unchecked), *self.check(ready))

    def remember(self, step: StepId, block: Block) -> None:
        """Remember a checked block for people, and the payloads that it names."""
        header = block.header
        if step in self._chain.tree and step != self._chain.tree.root.id:
            self._named_payloads.name(step, attachments_of(block.body))
        self._chain_steps[step] = ChainStep(Height(header.height), step, Digest(block.body.state_digest), PeerId(header.leader))

    def chain_step_of(self, step: StepId) -> ChainStep:
        """What people are told of a checked block that is still in the tree."""
        return self._chain_steps[step]

    def leader_of(self, step: StepId) -> PeerId:
        """Who led a checked block that is still in the tree."""
        return self._chain_steps[step].leader

    def forget_dead(self) -> None:
        """Drop what belongs to no living block of the tree."""
        self._forget_decided()
        for step in [step for step in self._chain_steps if step not in self._chain.tree]:
            del self._chain_steps[step]
            self._named_payloads.forget(step)

    def _forget_decided(self) -> None:
        """Nothing waits any more below an invalid block, or on a dead branch."""
        tree = self._chain.tree
        for step in [step for step in self._unchecked if tree.status(step) is not BlockStatus.UNCHECKED]:
            del self._unchecked[step]
            self._wanted.drop(step)
            self._named_payloads.forget(step)

    def _is_contender(self, step: StepId) -> bool:
        return self._candidates.may_contend(self._chain.work_above(step))

    def _pass_on(self, step: StepId) -> tuple[Effect, ...]:
        """At most once, and not while its branch is far behind."""
        unchecked = self._unchecked[step]
        if not unchecked.is_news or not self._is_contender(step):
            return ()
        self._unchecked[step] = replace(unchecked, is_news=False)
        return (Broadcast(encode(BlockMessage(unchecked.named.block))),)

    def _blame(self, answer: Checked, unchecked: _Unchecked) -> tuple[Effect, ...]:
        leader = PeerId(unchecked.named.header.leader)
        is_invalid = answer.verdict is Verdict.INVALID
        if leader == self._identity or not (is_invalid or answer.is_proven_lie):
            return ()
        refused = leader if is_invalid and unchecked.source == leader else None
        return blame(leader, unchecked.named.block, answer.verdict, answer.detail, refused=refused)
