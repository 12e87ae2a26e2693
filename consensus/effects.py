"""What an ordering machine wants done, in order; and what a peer did wrong, which is a value, with the bytes that prove it."""

from dataclasses import dataclass
from enum import StrEnum

from consensus.steps import Contribution, DeliveredStep, Step
from consensus.types import Digest, Height, Instant, PeerId, StepId


class Offence(StrEnum):
    """What a peer did wrong, in words that a person reads in a log."""

    MALFORMED = "malformed message"
    OVERSIZED = "oversized message"
    UNSOLICITED = "answer that nobody asked for"
    WRONG_SIGNATURE = "wrong signature"
    WRONG_PUZZLE = "puzzle not solved"
    WRONG_TARGET = "wrong target"
    WRONG_TIME = "time not after the median of its ancestors"
    WRONG_HEIGHT = "wrong height"
    WRONG_BODY = "body does not match its header"
    WRONG_BASE = "contribution for another step than the block's parent"
    INVALID_STEP = "step that cannot be applied"
    FALSE_CLAIM = "false fitness claim"
    UNKNOWN_MEMBER = "block by somebody who is no member"
    WRONG_PARENTS = "parents that its round cannot have"
    DUPLICATE_PARENT = "two parents by one author"
    TOO_FEW_PARENTS = "too few parents of the round before"
    EQUIVOCATION = "two blocks for one round"
    FLOODING = "more messages than allowed"


@dataclass(frozen=True, slots=True)
class Accusation:
    """Signed evidence against a peer, that convinces anybody who holds the network file.

    `evidence` is the canonical encoding of what the peer signed.
    """

    accused: PeerId
    offence: Offence
    detail: str
    evidence: bytes


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
    """A step from our own records, already checked in an earlier incarnation: apply it without measuring. No answer."""

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
    """Hold this round as signed before any later effect: never sign at or below it again (total order only).

    Durable with the records before it, but kept apart from them: an old copy of those must not make an honest member contradict
    itself.
    """

    round_number: int


@dataclass(frozen=True, slots=True)
class FetchAttachment:
    """Get an attachment of `length` bytes from this peer, check its digest, and answer with `AttachmentHeld` or `FetchFailed`.

    Answered at once where it is held already, and kept until it is released. One peer at a time is asked for one payload; who
    has left needs no answer.
    """

    digest: Digest
    length: int
    peer: PeerId


@dataclass(frozen=True, slots=True)
class KeepAttachments:
    """What is recorded names these large payloads, and may still be ordered: keep them until they are released."""

    digests: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class ReleaseAttachments:
    """Nothing that may still be ordered names these large payloads any more.

    Each was fetched, submitted, or kept by `KeepAttachments` before. Who forgets one need not tell: a machine believes nothing
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
    | FetchAttachment
    | KeepAttachments
    | ReleaseAttachments
    | FetchState
    | Restore
    | Accuse
    | Refuse
    | PassOver
    | Halt
)
