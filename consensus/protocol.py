"""The contract of an ordering machine: inputs, effects, and the one shape that the real node, the simulator and the tests run.

A machine is pure: equal inputs in equal order give equal effects. Effects are carried out in order.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from consensus.contribution import Contribution
from consensus.faults import Accusation, Offence
from consensus.types import Digest, Height, Instant, PeerId, StepId


class Verdict(StrEnum):
    """What the learner says of a step."""

    GOOD = "good"
    CONTESTED = "contested"
    """Valid by form and work, but the measured fitness does not bear out its claims: honest peers do not build on it."""
    REFUTED = "refuted"
    """As contested, by more than honest measurements can differ: no honest peer has found it good."""
    INVALID = "invalid"
    """Cannot be applied, or leads to another state than it commits to: provably wrong for everybody, for ever."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A large payload: it travels beside the order, named by its digest; `length` in bytes."""

    digest: Digest
    length: int


@dataclass(frozen=True, slots=True)
class Step:
    """A link of the order: `contributions` turn the state of `parent` into the state of `id`.

    The large payloads that they name are held. That a payload has the length that is named with it is for the learner to judge.
    """

    id: StepId
    parent: StepId
    height: Height
    leader: PeerId
    contributions: tuple[Contribution, ...]
    claim: bytes
    """What the leader's learner claims of the step; opaque here."""
    state_digest: Digest
    """The digest of the state after the step, as committed to by the leader."""


@dataclass(frozen=True, slots=True)
class DeliveredItem:
    """One payload in the order, by an author that is certain. `base`: what its author built on; opaque here."""

    author: PeerId
    base: bytes
    payload: bytes
    digest: Digest
    attachments: tuple[Attachment, ...]
    """The large payloads that the delivered block names: whoever accepted the block held all of them."""


@dataclass(frozen=True, slots=True)
class DeliveredStep:
    """A step that is final at once (total order): `items` in the order that all peers share.

    `id` chains: it is the digest of the commit record, which holds the parent's; `height` is the commit's index.
    """

    id: StepId
    parent: StepId
    height: Height
    time_ms: int
    """Agreed time: never goes back, and no minority can move it."""
    items: tuple[DeliveredItem, ...]


# --- inputs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """An authenticated connection to `peer` now exists.

    `group`: what peers close to each other share, such as a subnet; budgets for strangers are kept by it. Empty: unknown.
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
class PayloadHeld:
    """The bytes of this large payload are here, have this digest, and are recorded before anything that follows."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The answer to `FetchPayload` where this peer does not give the payload, or not fast enough.

    And to `FetchState`, with the state's digest, where none of its peers does; `peer` is the last of them.
    """

    digest: Digest
    peer: PeerId


@dataclass(frozen=True, slots=True)
class PayloadsNeeded:
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
    | PayloadHeld
    | FetchFailed
    | PayloadsNeeded
    | LearnerBehind
    | StateReached
    | StateHeld
)


# --- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """Make `value` durable under (table, key) before any later effect; an equal key is overwritten."""

    table: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message of the ordering protocol to one connected peer; dropped if it has left."""

    peer: PeerId
    message: bytes


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Bring the message to every peer of the network, over the peers we are connected to."""

    message: bytes


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fire the timer `name` at `at`; replaces a pending timer of the same name."""

    name: str
    at: Instant


@dataclass(frozen=True, slots=True)
class SolvePuzzle:
    """Search a nonce so that puzzle(prefix, nonce) <= target; replaces the puzzle being worked on."""

    prefix: bytes
    target: int


@dataclass(frozen=True, slots=True)
class StopPuzzle:
    """Stop working on a puzzle."""


@dataclass(frozen=True, slots=True)
class VerifyPuzzle:
    """Compute one puzzle, away from the event loop, and answer with `PuzzleVerified`."""

    step: StepId
    prefix: bytes
    nonce: int
    target: int


@dataclass(frozen=True, slots=True)
class Assess:
    """Is this contribution as good as its author claims? Its large payloads are held. The learner answers with `Assessed`."""

    digest: Digest
    contribution: Contribution


@dataclass(frozen=True, slots=True)
class Check:
    """Is this step good? Its parent is checked, its large payloads are held. The learner answers with `Checked`."""

    step: Step


@dataclass(frozen=True, slots=True)
class Replay:
    """A step from our own records, already checked in an earlier life: apply it without measuring. No answer."""

    step: Step


@dataclass(frozen=True, slots=True)
class Adopt:
    """The head is now this step; it has been checked (or replayed). May move to another branch above the final step."""

    step: StepId
    height: Height


@dataclass(frozen=True, slots=True)
class Finalise:
    """This step will never be undone; branches that do not hold it are dead."""

    step: StepId
    height: Height


@dataclass(frozen=True, slots=True)
class Deliver:
    """Apply this step; it is final, and there is nothing to check or to undo. Its items may be junk: the learner judges."""

    step: DeliveredStep


@dataclass(frozen=True, slots=True)
class Guard:
    """Make the guard file hold this round before any later effect: never sign at or below it again (total order only).

    It is kept apart from the records, so that a folder restored from a backup cannot make an honest member contradict itself.
    """

    round_number: int


@dataclass(frozen=True, slots=True)
class FetchPayload:
    """Get a large payload of `length` bytes from this peer, check its digest, and answer with `PayloadHeld` or `FetchFailed`.

    Answered at once where it is held already, and kept until it is released. One peer at a time is asked for one payload; who
    has left needs no answer.
    """

    digest: Digest
    length: int
    peer: PeerId


@dataclass(frozen=True, slots=True)
class KeepPayloads:
    """What is recorded names these large payloads, and may still be ordered: keep them until they are released."""

    digests: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class ReleasePayloads:
    """Nothing that may still be ordered names these large payloads any more.

    Each was fetched, submitted, or kept by `KeepPayloads` before. Who forgets one need not tell: a machine believes nothing
    held that it has not asked for since. `were_accepted`: others may have built on what named them, and still ask for them.
    """

    digests: tuple[Digest, ...]
    were_accepted: bool


@dataclass(frozen=True, slots=True)
class FetchState:
    """Get the state after this step from one of the peers, check its digest, and answer with `StateHeld`.

    Replaces one that is under way: only the newest is still wanted.
    """

    step: StepId
    height: Height
    state_digest: Digest
    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Restore:
    """Go on from this state instead of our own; durable together with the records of the same answer.

    What was delivered after this step, and waits for payloads, is still to be delivered.
    """

    step: StepId
    state: bytes


@dataclass(frozen=True, slots=True)
class Accuse:
    """Signed evidence against a peer."""

    accusation: Accusation


@dataclass(frozen=True, slots=True)
class Refuse:
    """Disconnect this peer and refuse it for a time: it broke the protocol in a way that it did not sign."""

    peer: PeerId
    offence: Offence
    detail: str


@dataclass(frozen=True, slots=True)
class PassOver:
    """The message of this input was not looked at, for what its sender has done or for want of room: another may bring it."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop the node: going on would undo something final, or the records contradict themselves."""

    reason: str


Effect = (
    Record
    | Send
    | Broadcast
    | SetTimer
    | SolvePuzzle
    | StopPuzzle
    | VerifyPuzzle
    | Assess
    | Check
    | Replay
    | Adopt
    | Finalise
    | Deliver
    | Guard
    | FetchPayload
    | KeepPayloads
    | ReleasePayloads
    | FetchState
    | Restore
    | Accuse
    | Refuse
    | PassOver
    | Halt
)


class OrderingProtocol(Protocol):
    """Turns inputs into effects. Equal inputs in equal order give equal effects."""

    def start(self, now: Instant) -> tuple[Effect, ...]:
        """Called once, before any input."""
        ...

    def handle(self, event: Input, now: Instant) -> tuple[Effect, ...]:
        """What should be done about `event`."""
        ...
