"""The contract of a learner: a machine that holds models by step id, judges what others offer, and finds better itself.

It runs in a worker process. Requests and answers are plain values, so they cross a pipe, the simulator, or a test alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """What a measurement says of a contribution or a step."""

    GOOD = "good"
    CONTESTED = "contested"
    REFUTED = "refuted"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class AuthoredPayload:
    """A contribution as the learner sees it: its author is certain, its payload is not yet decoded."""

    digest: bytes
    author: bytes
    base: bytes
    payload: bytes
    attached: tuple[tuple[bytes, int], ...] = ()
    """(digest, length) of the large payloads that whoever accepted it holds."""


@dataclass(frozen=True, slots=True)
class ProposedStep:
    """A step as the learner sees it."""

    id: bytes
    parent: bytes
    height: int
    leader: bytes
    contributions: tuple[AuthoredPayload, ...]
    claim: bytes
    state_digest: bytes


@dataclass(frozen=True, slots=True)
class DeliveredStep:
    """A step of a total order as the learner sees it: final, its items in the order that all peers share.

    The payloads' authors are certain; whether a payload makes sense is for the learner to say.
    """

    id: bytes
    parent: bytes
    height: int
    items: tuple[AuthoredPayload, ...]


@dataclass(frozen=True, slots=True)
class Participant:
    """The peer that a learner works for, and its network."""

    network_id: bytes
    author: bytes
    genesis_step: bytes
    members: tuple[bytes, ...] = ()
    """Of a total order; none under proof of work."""
    is_searching: bool = True
    """Who does not search follows all the same."""
    is_leading: bool = True
    """Proof of work: whether it may lead blocks, and so has to know what to list, searching or not."""

    @property
    def is_observer(self) -> bool:
        """Total order: it submits nothing."""
        return self.author not in self.members or not self.is_searching


def faulty_max(members: int) -> int:
    """f: how many of so many members, or voices, may lie."""
    return max(0, members - 1) // 3


def quorum(members: int) -> int:
    """n-f: how many are waited for, since f may never answer; more than half of them are honest."""
    return members - faulty_max(members)


# --- requests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssessRequest:
    """Is this contribution as good as claimed, and better than what we know for its base?"""

    contribution: AuthoredPayload


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Rebuild the state, compare its digest exactly, measure the claims. The parent is known to the learner."""

    step: ProposedStep


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Apply a step from our own records without measuring."""

    step: ProposedStep


@dataclass(frozen=True, slots=True)
class AdoptRequest:
    """Search from this step on."""

    step: bytes


@dataclass(frozen=True, slots=True)
class FinaliseRequest:
    """Never asked again for a step below this one."""

    step: bytes


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The model at the adopted step, or at the newest final one. In a total order they are the same."""

    is_final: bool = False


@dataclass(frozen=True, slots=True)
class DeliverRequest:
    """Apply a step of the total order. Each is answered with one StepApplied."""

    step: DeliveredStep


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """Total order: go on from this state, which enough members vouch for, instead of our own. Answered with StepAdopted."""

    state: "StateKept"


LearnerRequest = (
    AssessRequest
    | CheckRequest
    | ReplayRequest
    | AdoptRequest
    | FinaliseRequest
    | ExportRequest
    | DeliverRequest
    | RestoreRequest
)


# --- answers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContributionAssessed:
    """Answer to AssessRequest. `is_useful`: it beats what this learner knew for that base. No `detail`: nobody is at fault.

    `is_proven_lie`: its claim is far beyond the tolerance.
    """

    digest: bytes
    verdict: Verdict
    is_useful: bool
    detail: str
    is_proven_lie: bool = False


@dataclass(frozen=True, slots=True)
class StepChecked:
    """Answer to CheckRequest. `is_proven_lie`: a signed claim is far beyond the tolerance."""

    step: bytes
    verdict: Verdict
    is_proven_lie: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ContributionFound:
    """Our search found something better than all we know for `base`, to be signed by us and told to others.

    It comes back as an AssessRequest once it is signed; only then has it a digest and can be offered in a step.
    """

    base: bytes
    payload: bytes
    large: tuple[bytes, ...] = ()
    """Large payloads that go with it beside the order; `payload` names them by their BLAKE2b-256 digest."""
    digests: tuple[bytes, ...] = ()
    """Theirs, in the same order, where they are known: the event loop need not compute them again."""


@dataclass(frozen=True, slots=True)
class StepOffered:
    """The best next step that this learner knows on top of `base`; replaces an earlier offer for it."""

    base: bytes
    contributions: tuple[bytes, ...]
    claim: bytes
    state_digest: bytes


@dataclass(frozen=True, slots=True)
class StepAdopted:
    """Answer to AdoptRequest: what people want to know of the model at the head."""

    step: bytes
    height: int
    fitness: float
    metrics: Mapping[str, float]
    state_digest: bytes


@dataclass(frozen=True, slots=True)
class StepApplied:
    """Answer to DeliverRequest, the last one: what follows from the step is done. So a backlog can be seen."""

    height: int


@dataclass(frozen=True, slots=True)
class StateKept:
    """A final state worth storing, so that a restart need not replay from genesis."""

    step: bytes
    height: int
    parameters: bytes
    """float32, little-endian."""
    commit: int = 0
    """Total order only: all deliveries up to this height are in it; those above are to be replayed, in order."""
    commit_step: bytes = b""
    """Total order only: the id of that delivery."""
    state_digest: bytes = bytes(32)
    """Of the whole state, as a step commits to it."""
    memory: bytes = b""
    """What the learner needs besides the parameters."""
    checkpoint: int = 0
    """Total order only: the number of this state among those that all members keep and vouch for; 0: only for ourselves."""
    digest: bytes = b""
    """Of the encoded state (`learning.state.checkpoint_digest`), where the learner's process has computed it."""


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """How much this learner has searched since it started."""

    candidates: int
    """Candidates tried, or gradients computed."""


@dataclass(frozen=True, slots=True)
class ModelExported:
    """Answer to ExportRequest: the flat parameters (float32, little-endian) at a step."""

    step: bytes
    height: int
    state_digest: bytes
    parameters: bytes


class Phase(StrEnum):
    """What a generation over a total order waits for; the text completes "waiting for"."""

    CANDIDATES = "candidates"
    SCORES = "scores"


@dataclass(frozen=True, slots=True)
class GenerationWaits:
    """Total order: who has done his part in the phase under way; told after each step that changes it."""

    generation: bytes
    height: int
    phase: Phase
    counted: tuple[bytes, ...]
    """Members whose candidate or scores were delivered, in that order."""
    needed: int
    """The phase ends with the commit that brings as many."""


@dataclass(frozen=True, slots=True)
class CommitAwaited:
    """Total order: whether the next commit ends the phase, whatever it brings; so the order should not take its time."""

    is_awaited: bool


@dataclass(frozen=True, slots=True)
class OwnPartDue:
    """Total order: whether this learner is at work on its part in the phase; else it waits for others. Streams have none."""

    is_due: bool


@dataclass(frozen=True, slots=True)
class SlateEntry:
    """A candidate as it was decided on; all fitness in micro-units, for steps of gradients as the lead over no change."""

    author: bytes | None
    """None for the parent, "no change", and for what follows from several members' gradients: then there is a label."""
    claimed_fitness: int | None
    """None for the parent, and for gradients, which claim nothing."""
    agreed_fitness: int
    measured_fitness: int | None
    """Our own measurement; None for an observer, and where the others were faster."""
    label: str = ""
    """What the author does not tell: "mean", "median", "a quarter of the step"."""


@dataclass(frozen=True, slots=True)
class GenerationDecided:
    """Total order: how the model at this height was chosen. For people."""

    step: bytes
    height: int
    parent: bytes
    slate: tuple[SlateEntry, ...]
    """The parent first, then the candidates in the order of their delivery."""
    winner: int
    """A position on the slate."""
    scorers: tuple[bytes, ...]
    """Members whose scores were counted, in the order of delivery."""
    ignored: tuple[tuple[str, int], ...]
    """Submissions that changed nothing: the reason, and how many."""
    authors: tuple[bytes, ...] = ()
    """Whose work is in the winner; nobody's in "no change"."""


@dataclass(frozen=True, slots=True)
class GradientReport:
    """What became of one gradient. For people."""

    author: bytes
    outcome: str
    """A value of `learning.aggregation.rule.GradientOutcome`."""
    is_accepted: bool
    staleness: int | None
    """Versions of the model between its base and its coming; None where the base is unknown."""


@dataclass(frozen=True, slots=True)
class GradientsReport:
    """What the gradients of one step did to the model. For people."""

    step: bytes
    version: int
    """How often the model has moved, this step included."""
    judged: tuple[GradientReport, ...]
    weights: tuple[tuple[bytes, float], ...]
    """Whose gradients had a part in the newest move, and how large; empty when it did not move."""


LearnerAnswer = (
    ContributionAssessed
    | StepChecked
    | ContributionFound
    | StepOffered
    | StepAdopted
    | StepApplied
    | StateKept
    | SearchProgress
    | ModelExported
    | GenerationWaits
    | CommitAwaited
    | OwnPartDue
    | GenerationDecided
    | GradientsReport
)


class Learner(Protocol):
    """Turns requests into answers, and idle time into findings."""

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        """Answer one request; takes milliseconds."""
        ...

    @property
    def is_scoring(self) -> bool:
        """Whether the next slice of `search` measures what others offer, and finds nothing of our own."""
        ...

    @property
    def is_searching(self) -> bool:
        """Whether `search` has anything to do before the next request."""
        ...

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One slice of search from the adopted step, a few milliseconds long, so that requests are not kept waiting."""
        ...
