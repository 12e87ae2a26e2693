"""The pure glue that joins an ordering machine to a learner: effects become requests, answers become inputs.

No clock, no IO: the shell (driver.py), the simulator and the tests run this very class.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, assert_never

from consensus import steps
from consensus.effects import (
    Accuse,
    Adopt,
    Assess,
    Broadcast,
    Check,
    Deliver,
    Effect,
    FetchAttachment,
    FetchState,
    Finalise,
    Guard,
    Halt,
    KeepAttachments,
    PassOver,
    Record,
    Refuse,
    ReleaseAttachments,
    Replay,
    Restore,
    Send,
    SetTimer,
    SolvePuzzle,
    StopPuzzle,
    VerifyPuzzle,
)
from consensus.protocol import (
    AttachmentHeld,
    AttachmentsNeeded,
    Input,
    LearnerAwaitsCommit,
    LearnerBehind,
    OrderingProtocol,
    StateReached,
    Submitted,
)
from consensus.steps import Attachment, Step
from consensus.types import Digest, Height, Instant, NetworkId, PeerId, StepId
from learning.aggregation.quantised import payload_digest
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    CheckRequest,
    CommitAwaited,
    ContributionAssessed,
    ContributionFound,
    DeliverRequest,
    FinaliseRequest,
    GenerationDecided,
    GenerationWaits,
    GradientsReport,
    LearnerAnswer,
    LearnerRequest,
    ModelExported,
    OwnPartDue,
    ReplayRequest,
    RestoreRequest,
    SearchProgress,
    StateKept,
    StepAdopted,
    StepApplied,
    StepChecked,
    StepOffered,
)
from learning.state import checkpoint_digest, decode_kept_state, encode_kept_state
from node.rules.retention import PAYLOAD_COMMITS
from node.runtime.held_attachments import HeldAttachments
from node.runtime.learner_part import LearnerPart
from node.runtime.learner_queue import Awaited, LearnerQueue
from node.runtime.translation import authored_payload, delivery_for_learner, input_of, step_for_learner
from node.storage.tables import CHECKPOINT_DIGEST_TABLE, PAYLOAD_TABLE, STATE_KEY, STATE_TABLE, checkpoint_key


@dataclass(frozen=True, slots=True)
class AskLearner:
    """Hand this request to the learner; its answers come back through `ReplicaPort.handle_answer`."""

    request: LearnerRequest


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody will ask for this row again: remove it."""

    table: str
    key: bytes


ImmediateEffect = (
    Send
    | Broadcast
    | SetTimer
    | SolvePuzzle
    | StopPuzzle
    | VerifyPuzzle
    | FetchAttachment
    | FetchState
    | AskLearner
    | Accuse
    | Refuse
    | PassOver
    | Halt
)
"""What the shell carries out in its turn; the other effects are to be durable before anything after them."""

OuterEffect = Record | Forget | Guard | ImmediateEffect
"""What is left for the shell once the learner's part is routed."""

STEPS_WAITING_MAX = 8
"""Delivered steps may be with the learner before the order hears of it: an eighth of a second's, four members on one host."""


class ReplicaPort(Protocol):
    """What a shell drives: a replica, or what tests and testnets put in its place (`node.lab.faults`)."""

    @property
    def ordering(self) -> OrderingProtocol:
        """The ordering machine."""
        ...

    @property
    def awaited(self) -> Awaited | None:
        """The payloads that the learner waits for, if it does."""
        ...

    def start(self, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done first."""
        ...

    def handle(self, event: Input, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an input."""
        ...

    def handle_answer(self, answer: LearnerAnswer, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an answer of the learner."""
        ...


class Coupling:
    """One ordering machine and the way to its learner. Implements `ReplicaPort`."""

    def __init__(
        self,
        ordering: OrderingProtocol,
        network_id: NetworkId,
        held: Iterable[Digest] = (),
        payload_commits: int = PAYLOAD_COMMITS,
    ) -> None:
        """`held`: large payloads in the store at the start."""
        self.ordering = ordering
        self._network_id = network_id
        self._attachments = HeldAttachments(held, payload_commits)
        self._learner_queue = LearnerQueue(self._attachments.__contains__)
        self._asked: dict[PeerId, None] = {}
        """Who was asked for what the learner waits for."""
        self._wanted: dict[Digest, None] = {}
        """What the machine was told that the learner waits for."""
        self._waits_at: Height | None = None
        """And at which step; None: it waits for nothing."""
        self._inputs: deque[Input] = deque()
        """What follows from the present input, and the machine is still to hear."""
        self._adopts_asked = self._adopts_answered = 0
        self._leaving: deque[tuple[int, tuple[Digest, ...]]] = deque()
        """Payloads that go once the learner has adopted so many heads: what it was asked before may still read them."""
        self._height = Height(0)
        """Of the last delivery in this life."""
        self._kept_commit = Height(0)
        self._steps_asked = self._steps_applied = 0
        """Deliveries to the learner in this life."""
        self._behind_reported = 0
        self._is_commit_awaited = False
        self._part = LearnerPart()

    @property
    def awaited(self) -> Awaited | None:
        """The payloads that our learner waits for, if it does."""
        missing = len(tuple(self._learner_queue.missing))
        return Awaited(missing, self._learner_queue.first_height, len(self._asked)) if missing else None

    def start(self, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done first."""
        effects = self._outer(self.ordering.start(now))
        self._report_missing()
        self._report_behind()
        return (*effects, *self._follow_up(now))

    def handle(self, event: Input, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an input from the network, a timer or the puzzle process."""
        self._inputs.append(event)
        return self._follow_up(now)

    def handle_answer(self, answer: LearnerAnswer, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an answer of the learner; answers meant for people alone give nothing."""
        match answer:
            case StateKept():
                return self._on_kept(answer, now)
            case StepAdopted():
                return self._on_adopted()
            case StepApplied(height):
                self._steps_applied += 1
                self._part.on_applied(height)
                self._report_behind()
                return self._follow_up(now)
            case CommitAwaited(is_awaited):
                before, self._is_commit_awaited = self._is_commit_awaited, is_awaited
                return () if is_awaited == before else self.handle(LearnerAwaitsCommit(is_awaited), now)
            case OwnPartDue(is_due):
                self._part.on_said(is_due)
                self._report_behind()
                return self._follow_up(now)
            case SearchProgress() | ModelExported() | GenerationDecided() | GenerationWaits() | GradientsReport():
                return ()
            case ContributionFound():
                return self._on_found(answer, now)
            case ContributionAssessed() | StepChecked() | StepOffered():
                return self.handle(input_of(answer), now)
            case _:
                assert_never(answer)

    # --- what the machine hears ---

    def _follow_up(self, now: Instant) -> tuple[OuterEffect, ...]:
        """Hand on the inputs that wait, and those that follow from them."""
        outer: list[OuterEffect] = []
        while self._inputs:
            event = self._inputs.popleft()
            if isinstance(event, AttachmentHeld):
                if not self._attachments.put(event.digest):
                    outer.append(Forget(PAYLOAD_TABLE, event.digest))
                    continue
                outer += self._on_held(event.digest)
            outer += self._outer(self.ordering.handle(event, now))
            self._report_missing()
            self._report_behind()
        return tuple(outer)

    def _on_held(self, digest: Digest) -> Iterable[OuterEffect]:
        """What the learner waited for, and nothing else may name any more, is kept as what was delivered."""
        if digest in self._wanted:
            del self._wanted[digest]
            self._attachments.release((digest,), self._height)
        if not self._wanted:
            self._asked.clear()
        return self._to_learner(self._learner_queue.on_held(digest))

    def _report_behind(self) -> None:
        """Have the machine slow down where our learner has much to do, and hear whether it will say something."""
        behind = self._steps_asked - self._steps_applied
        reported = behind if behind > STEPS_WAITING_MAX else 0
        if reported != self._behind_reported:
            self._behind_reported = reported
            self._inputs.append(LearnerBehind(reported))
        self._inputs.extend(self._part.news())

    def _report_missing(self) -> None:
        """Have the machine get what the learner lacks."""
        missing, first = {large.digest: large for large in self._learner_queue.missing}, self._learner_queue.first_height
        new = tuple(large for digest, large in missing.items() if digest not in self._wanted)
        if new or (missing and first != self._waits_at):
            self._wanted.update((large.digest, None) for large in new)
            self._attachments.keep(large.digest for large in new)
            self._waits_at = first
            self._inputs.append(AttachmentsNeeded(tuple(missing.values()), first))
        elif self._waits_at is not None and not missing:
            self._attachments.release(self._wanted, self._height)
            self._wanted.clear()
            self._asked.clear()
            self._waits_at = None
            self._inputs.append(AttachmentsNeeded((), first))

    def _on_found(self, found: ContributionFound, now: Instant) -> tuple[OuterEffect, ...]:
        """Its large payloads are recorded before anybody hears of them."""
        digests = found.digests or tuple(payload_digest(content) for content in found.large)
        held = tuple((Digest(digest), content) for digest, content in zip(digests, found.large, strict=True))
        self._attachments.keep(digest for digest, _ in held)
        for digest, _ in held:
            self._attachments.put(digest)
        records = tuple(Record(PAYLOAD_TABLE, digest, content) for digest, content in held)
        attachments = tuple(Attachment(digest, len(content)) for digest, content in held)
        return (*records, *self.handle(Submitted(StepId(found.base), found.payload, attachments), now))

    def _on_kept(self, state: StateKept, now: Instant) -> tuple[OuterEffect, ...]:
        """Record it; under a total order, some are checkpoints that others may start from."""
        self._kept_commit = Height(max(self._kept_commit, state.commit))
        encoded = encode_kept_state(state)
        newest = Record(STATE_TABLE, STATE_KEY, encoded)
        if state.commit == 0 or state.checkpoint == 0:
            return (newest,)
        digest = Digest(state.digest or checkpoint_digest(encoded))
        checkpoint = Record(STATE_TABLE, checkpoint_key(state.checkpoint), encoded)
        named = Record(CHECKPOINT_DIGEST_TABLE, checkpoint_key(state.checkpoint), digest)
        return (newest, checkpoint, named, *self.handle(StateReached(Height(state.commit), digest), now))

    # --- what the machine wants done ---

    def _outer(self, effects: tuple[Effect, ...]) -> tuple[OuterEffect, ...]:
        if not effects:
            return ()
        outer: list[OuterEffect] = [
            Record(STATE_TABLE, STATE_KEY, effect.state) for effect in effects if isinstance(effect, Restore)
        ]  # first, so that it is durable in one commit with the records that follow: neither is of use without the other
        for effect in effects:
            outer += self._route(effect)
        return tuple(outer)

    def _route(self, effect: Effect) -> Iterable[OuterEffect]:
        """To the learner in its words, to what is held, or to the shell."""
        match effect:
            case FetchAttachment():
                return self._fetch(effect)
            case KeepAttachments(digests):
                self._attachments.keep(digests)
                return ()
            case ReleaseAttachments(digests, were_accepted):
                return self._release(digests, were_accepted)
            case Assess(digest, contribution):
                named = (Attachment(Digest(large.digest), large.length) for large in contribution.attachments)
                return self._ask(AssessRequest(authored_payload(digest, contribution)), Height(0), named)
            case Check(step):
                return self._ask(CheckRequest(step_for_learner(self._network_id, step)), step.height, _attachments_of(step))
            case Replay(step):
                return self._ask(ReplayRequest(step_for_learner(self._network_id, step)), step.height, _attachments_of(step))
            case Adopt(step, height):
                self._adopts_asked += 1
                return self._ask(AdoptRequest(step), height)
            case Finalise(step, height):
                self._learner_queue.forget_below(height)
                return self._ask(FinaliseRequest(step), height)
            case Restore(_, state):
                kept = decode_kept_state(state)
                return self._to_learner(self._learner_queue.restore(RestoreRequest(kept), Height(kept.commit)))
            case Deliver(step):
                return self._deliver(step)
            case _:
                return (effect,)

    def _ask(self, request: LearnerRequest, height: Height, named: Iterable[Attachment] = ()) -> Iterable[OuterEffect]:
        return self._to_learner(self._learner_queue.put(request, height, named))

    def _to_learner(self, requests: tuple[LearnerRequest, ...]) -> tuple[AskLearner, ...]:
        self._steps_asked += sum(isinstance(request, DeliverRequest) for request in requests)
        return tuple(AskLearner(request) for request in requests)

    def _deliver(self, step: steps.DeliveredStep) -> Iterable[OuterEffect]:
        self._height = step.height
        if step.items:
            self._part.on_asked(step.height)
        named = dict.fromkeys(large for item in step.items for large in item.attachments)
        asked = self._ask(DeliverRequest(delivery_for_learner(step)), step.height, named)
        return (*asked, *_forget(self._attachments.on_delivery(step.height, self._kept_commit)))

    def _fetch(self, wanted: FetchAttachment) -> Iterable[OuterEffect]:
        """What is here is kept from now on, and needs no fetching."""
        self._attachments.keep((wanted.digest,))
        if wanted.digest in self._attachments:
            self._inputs.append(AttachmentHeld(wanted.digest))
            return ()
        if wanted.digest in self._wanted:
            self._asked[wanted.peer] = None
        return (wanted,)

    def _release(self, digests: tuple[Digest, ...], were_accepted: bool) -> Iterable[OuterEffect]:
        """What our learner may still read goes later: it has at most what it was asked before the next head."""
        if were_accepted:
            self._attachments.release(digests, self._height)
            return ()
        loose = self._attachments.drop(digests)
        if self._adopts_asked == 0:  # a total order: the learner has never heard of what was not accepted
            return _forget(self._attachments.forget(loose))
        if loose:
            self._leaving.append((self._adopts_asked + 1, loose))
        return ()

    def _on_adopted(self) -> tuple[OuterEffect, ...]:
        self._adopts_answered += 1
        gone: list[Digest] = []
        while self._leaving and self._leaving[0][0] <= self._adopts_answered:
            gone += self._attachments.forget(self._leaving.popleft()[1])
        return _forget(gone)


def _attachments_of(step: Step) -> Iterable[Attachment]:
    """The large payloads of all that a block lists."""
    return (attachment for contribution in step.contributions for attachment in contribution.attachments)


def _forget(digests: Iterable[Digest]) -> tuple[Forget, ...]:
    return tuple(Forget(PAYLOAD_TABLE, digest) for digest in digests)
