"""What stands in the order under an honest peer's name was found by its own learner, and stands there once.

And no honest peer accuses, refuses or contests another one, and none stops by itself.
"""

from collections import Counter
from collections.abc import Container

from consensus.effects import Accuse, Halt, Refuse
from consensus.types import PeerId
from learning.gradient.ledger import decode_submission
from learning.learner import (
    AssessRequest,
    AuthoredPayload,
    CheckRequest,
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    GradientsReport,
    ProposedStep,
    StepChecked,
    Verdict,
)
from node.lab.checkers.finding import Finding, Seen
from node.runtime.coupling import AskLearner

ANCESTORS_MAX = 32
"""Twice the sixteen blocks for which a submission may be listed (docs/protocol.md, 7)."""

Finds = Counter[tuple[PeerId, bytes, bytes]]
"""How often each (author, base, payload) was found."""


class FoundByItsAuthor:
    """Nobody can sign for an honest peer: not in a contribution, not in a block, not in a delivery."""

    name = "what an honest peer has signed it has found"
    reads = (ContributionFound, AssessRequest, CheckRequest, DeliverRequest)

    def __init__(self, honest: Container[bytes]) -> None:
        self._honest = honest
        self._found: Finds = Counter()

    def see(self, seen: Seen) -> Finding | None:
        """A finding of a peer's own learner, or contributions that a learner is shown."""
        match seen.event:
            case ContributionFound(base, payload):
                self._found[seen.peer, base, payload] += 1
            case AskLearner(AssessRequest(contribution)):
                return self._foreign((contribution,), seen)
            case AskLearner(CheckRequest(step)):
                return self._foreign(step.contributions, seen)
            case AskLearner(DeliverRequest(delivered)):
                return self._foreign(delivered.items, seen)
        return None

    def _foreign(self, contributions: tuple[AuthoredPayload, ...], seen: Seen) -> Finding | None:
        for one in contributions:
            if one.author in self._honest and (PeerId(one.author), one.base, one.payload) not in self._found:
                detail = f"contribution {one.digest.hex()[:8]} bears the name of {one.author.hex()[:8]}, who never found it"
                return Finding(self.name, detail, (seen,))
        return None


class DeliveredOnce:
    """A history holds a finding no more often than its author has found it."""

    name = "a contribution is delivered once"
    reads = (ContributionFound, CheckRequest, DeliverRequest)

    def __init__(self, honest: Container[bytes]) -> None:
        self._honest = honest
        self._found: Finds = Counter()
        self._delivered: Finds = Counter()
        self._delivered_height = 0
        self._steps: dict[bytes, ProposedStep] = {}

    def see(self, seen: Seen) -> Finding | None:
        """A finding, a step of a branch, or a delivery; deliveries at one height are known to be the same (see OneOrder)."""
        match seen.event:
            case ContributionFound(base, payload):
                self._found[seen.peer, base, payload] += 1
            case AskLearner(CheckRequest(step)) if step.id not in self._steps:
                self._steps[step.id] = step
                return self._second_listing(step, seen)
            case AskLearner(DeliverRequest(delivered)) if delivered.height > self._delivered_height:
                self._delivered_height = delivered.height
                return self._second_delivery(delivered, seen)
        return None

    def _second_delivery(self, step: DeliveredStep, seen: Seen) -> Finding | None:
        for item in step.items:
            if item.author in self._honest:
                name = (PeerId(item.author), item.base, item.payload)
                self._delivered[name] += 1
                if self._delivered[name] > self._found[name]:
                    times = f"delivered {self._delivered[name]} times, found {self._found[name]} times"
                    return Finding(self.name, f"contribution {item.digest.hex()[:8]} was {times}", (seen,))
        return None

    def _second_listing(self, step: ProposedStep, seen: Seen) -> Finding | None:
        """On one branch, by a leader that is honest: others may fill their blocks with what is old."""
        if step.leader not in self._honest:
            return None
        listed = {one.digest for one in step.contributions}
        ancestor = self._steps.get(step.parent)
        for _ in range(ANCESTORS_MAX):
            if ancestor is None:
                return None
            for one in ancestor.contributions:
                if one.digest in listed:
                    detail = f"contribution {one.digest.hex()[:8]} is listed at heights {ancestor.height} and {step.height}"
                    return Finding(self.name, detail, (seen,))
            ancestor = self._steps.get(ancestor.parent)
        return None


Place = tuple[bytes, int]
"""A delivery, and the number of an item in it: the same at everybody, and in all incarnations."""


class AcceptedOnce:
    """Learners that score slates judge no delivery item by item; of those nothing is read here."""

    name = "one gradient of an author on one model is accepted"
    reads = (DeliverRequest, GradientsReport)

    def __init__(self) -> None:
        self._items: dict[bytes, tuple[AuthoredPayload, ...]] = {}
        """By delivery."""
        self._accepted: dict[tuple[bytes, int], tuple[Place, Seen]] = {}
        """By author and base."""

    def see(self, seen: Seen) -> Finding | None:
        """A delivery, or what became of each of its items."""
        match seen.event:
            case AskLearner(DeliverRequest(delivered)):
                self._items.setdefault(delivered.id, delivered.items)
            case GradientsReport(step, _, judged):
                items = self._items.get(step, ())
                if [item.author for item in items] == [one.author for one in judged]:
                    accepted = (place for place, one in enumerate(judged) if one.is_accepted)
                    return next(filter(None, (self._repetition(items[place], (step, place), seen) for place in accepted)), None)
        return None

    def _repetition(self, item: AuthoredPayload, place: Place, seen: Seen) -> Finding | None:
        submission = decode_submission(item.payload)
        if submission is None:
            return Finding(self.name, f"{item.digest.hex()[:8]} is accepted and is no gradient", (seen,))
        first, earlier = self._accepted.setdefault((item.author, submission.base), (place, seen))
        if first == place:
            return None
        detail = f"two gradients of {item.author.hex()[:8]} on version {submission.base} are accepted"
        return Finding(self.name, detail, (earlier, seen))


class NoHonestBlamed:
    """With no more faulty peers than the mode tolerates, a Halt is a mistake, too.

    A block that lists what a faulty peer claims may be contested, whoever leads it: a claim at the edge of the tolerance is
    good for one honest measurement and not for the next.
    """

    name = "no honest peer is accused, refused, contested or stopped"
    reads = (Accuse, Refuse, Halt, CheckRequest, StepChecked)

    def __init__(self, honest: Container[bytes]) -> None:
        self._honest = honest
        self._honest_steps: dict[bytes, Seen] = {}
        """Steps whose leader and authors are all honest."""

    def see(self, seen: Seen) -> Finding | None:
        """Something said against a peer, or a step to be checked."""
        match seen.event:
            case Accuse(accusation) if accusation.accused in self._honest:
                return self._against(accusation.accused, f"accused: {accusation.offence.value} ({accusation.detail})", seen)
            case Refuse(peer, offence, detail) if peer in self._honest:
                return self._against(peer, f"refused: {offence.value} ({detail})", seen)
            case Halt(reason):
                return Finding(self.name, f"{seen.peer.hex()[:8]} stops: {reason}", (seen,))
            case AskLearner(CheckRequest(step)) if self._is_honest(step):
                self._honest_steps.setdefault(step.id, seen)
            case StepChecked(step_id, verdict, _, detail) if verdict is not Verdict.GOOD:
                earlier = self._honest_steps.get(step_id)
                if earlier is not None:
                    what = f"a step by honest peers alone is {verdict.value} ({detail})"
                    return Finding(self.name, what, (earlier, seen))
        return None

    def _is_honest(self, step: ProposedStep) -> bool:
        return step.leader in self._honest and all(one.author in self._honest for one in step.contributions)

    def _against(self, peer: bytes, what: str, seen: Seen) -> Finding:
        return Finding(self.name, f"honest {peer.hex()[:8]} is {what}", (seen,))
