"""What stands in the order under an honest peer's name was found by that peer's own learner, and stands there once."""

from collections import Counter
from collections.abc import Container

from consensus.types import PeerId
from learning.learner import (
    AssessRequest,
    AuthoredPayload,
    CheckRequest,
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    ProposedStep,
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
