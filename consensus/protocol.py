"""The contract of an ordering machine: what it is told, and the one shape that the real node, the simulator and the tests run.

A machine is pure: equal inputs in equal order give equal effects.
"""

from dataclasses import dataclass
from typing import Protocol

from consensus.effects import Effect
from consensus.steps import Attachment, Verdict
from consensus.types import Digest, Height, Instant, PeerId, StepId


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """An authenticated connection to `peer` now exists.

    `group`: what peers close to each other share, such as a subnet; budgets for outsiders are kept by it. Empty: unknown.
    """

    peer: PeerId
    group: bytes = b""


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """The connection to `peer` is gone."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the ordering protocol, as bytes, from an authenticated peer. The machine decodes and judges it."""

    peer: PeerId
    message: bytes


@dataclass(frozen=True, slots=True)
class Submitted:
    """Our own learner has found a contribution for the step after `base`."""

    base: StepId
    payload: bytes
    attachments: tuple[Attachment, ...] = ()
    """Large payloads that `payload` is worth nothing without; we hold them already. Proof of work takes two at most."""


@dataclass(frozen=True, slots=True)
class Offered:
    """Our own learner would make this the next step after `base`; it replaces an earlier offer for the same base.

    `contributions` are digests of contributions that the machine holds (ours or assessed as good); none means "no change".
    What does not fit into a block is ignored as a whole: 64 contributions, and BLOCK_BYTES_MAX in all.
    """

    base: StepId
    contributions: tuple[Digest, ...]
    claim: bytes
    state_digest: Digest


@dataclass(frozen=True, slots=True)
class Assessed:
    """The learner's answer to `Assess`: GOOD is worth telling others, CONTESTED is a false claim, INVALID cannot be applied.

    `is_useful` says whether it beats what the learner knew before; what does not is not passed on. Without a `detail` nobody is
    at fault. `is_proven_lie`: its claim is far beyond any honest measurement.
    """

    contribution: Digest
    verdict: Verdict
    is_useful: bool
    detail: str
    is_proven_lie: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """The learner's answer to `Check`. `is_proven_lie`: the leader's signed claim is far beyond any honest measurement."""

    step: StepId
    verdict: Verdict
    is_proven_lie: bool
    detail: str


@dataclass(frozen=True, slots=True)
class PuzzleSolved:
    """The nonce that solves the puzzle last asked for with this prefix."""

    prefix: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class PuzzleVerified:
    """The answer to `VerifyPuzzle`."""

    step: StepId
    is_solved: bool


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The timer of this name has run out."""

    name: str


@dataclass(frozen=True, slots=True)
class ClockRead:
    """The wall clock reads `now + offset_ms`. Fed whenever that has changed, before the start, too; block times follow it.

    A machine that was told nothing takes the offset to be 0.
    """

    offset_ms: int


@dataclass(frozen=True, slots=True)
class AttachmentHeld:
    """The bytes of this large payload are here, have this digest, and are recorded before anything that follows."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The answer to `FetchAttachment` where this peer does not give the payload, or not fast enough.

    And to `FetchState`, with the state's digest, where none of its peers does; `peer` is the last of them.
    """

    digest: Digest
    peer: PeerId


@dataclass(frozen=True, slots=True)
class AttachmentsNeeded:
    """What our learner is to be told next names these large payloads, and they are not held: get them before all else.

    None: it needs none of those any more that were said to be needed before.
    """

    attachments: tuple[Attachment, ...]
    height: Height
    """Of the first step that waits for any."""


@dataclass(frozen=True, slots=True)
class LearnerBehind:
    """So many delivered steps are still with our learner (total order only). Told while they are many, and 0 once they are few.

    An order that does not wait for its learners lets them fall behind without end.
    """

    steps: int


@dataclass(frozen=True, slots=True)
class LearnerAwaitsCommit:
    """Whether our learner can go on with the next commit, even if nobody has anything to say (total order only)."""

    is_awaited: bool


@dataclass(frozen=True, slots=True)
class LearnerPartDue:
    """Total order: whether our learner is at work on what it will say next; else it has said all, and waits for the order.

    Never heard of where a learner says things whenever it has them.
    """

    is_due: bool


@dataclass(frozen=True, slots=True)
class StateReached:
    """Our learner's state after the commit of this height has this digest: worth a checkpoint for others (total order only)."""

    height: Height
    state_digest: Digest


@dataclass(frozen=True, slots=True)
class StateHeld:
    """The answer to `FetchState`: the state after this step, its digest checked, opaque here (total order only)."""

    step: StepId
    state: bytes


Input = (
    PeerJoined
    | PeerLeft
    | Received
    | Submitted
    | Offered
    | Assessed
    | Checked
    | PuzzleSolved
    | PuzzleVerified
    | TimerFired
    | ClockRead
    | AttachmentHeld
    | FetchFailed
    | AttachmentsNeeded
    | LearnerBehind
    | LearnerAwaitsCommit
    | LearnerPartDue
    | StateReached
    | StateHeld
)


class OrderingProtocol(Protocol):
    """Turns inputs into effects. Equal inputs in equal order give equal effects."""

    def start(self, now: Instant) -> tuple[Effect, ...]:
        """Called once, before any input."""
        ...

    def handle(self, event: Input, now: Instant) -> tuple[Effect, ...]:
        """What should be done about `event`."""
        ...
