"""Lies about candidates: what they are worth, whose they are, which they are."""

from dataclasses import replace

from learning.evolution.payload import Candidate, decode_claim, encode_claim
from learning.evolution.recipe import INDEX_MAX, Recipe
from learning.exact import FITNESS_MAX
from learning.learner import (
    AssessRequest,
    AuthoredPayload,
    ContributionFound,
    DeliverRequest,
    LearnerAnswer,
    LearnerRequest,
    StepOffered,
)
from learning.model_consensus.slate import MalformedPayloadError
from node.common.bounded import RecentSet
from node.lab.faults.evolution.interceptor import Answers, PayloadCodec

BASES_MAX = 64
"""Models remembered as served with a stolen candidate; older ones are final."""


class InflatedClaim:
    """Claims `by` micro-units more for its candidates and for its blocks than they measure.

    Source: false fitness, the attack that the claims of arXiv 2304.13540 invite. Powers: none.
    """

    def __init__(self, by: int, payloads: PayloadCodec) -> None:
        self._by = by
        self._payloads = payloads

    def hear(self, request: LearnerRequest) -> None:
        """Nothing of interest."""

    def say(self, answers: Answers) -> Answers:
        """Higher claims."""
        return tuple(self._inflate(answer) for answer in answers)

    def _inflate(self, answer: LearnerAnswer) -> LearnerAnswer:
        match answer:
            case ContributionFound():
                candidate = self._payloads.candidate_of(answer)
                if candidate is None:
                    return answer
                higher = replace(candidate, claimed_fitness=_more(candidate.claimed_fitness, self._by))
                return replace(answer, payload=self._payloads.write(higher))
            case StepOffered():
                return _with_higher_claim(answer, self._by)
            case _:
                return answer


class ContestedClaim:
    """As leader it claims for the child the measured fitness and `by` micro-units: the tolerance, or just beyond it.

    At the tolerance honest measurements that differ by a unit disagree about the block, which without the rule for contested
    blocks would split the network (docs/protocol.md, on contested blocks). Powers: none.
    """

    def __init__(self, by: int) -> None:
        self._by = by

    def hear(self, request: LearnerRequest) -> None:
        """Nothing of interest."""

    def say(self, answers: Answers) -> Answers:
        """Higher claims for blocks."""
        return tuple(_with_higher_claim(answer, self._by) if isinstance(answer, StepOffered) else answer for answer in answers)


def _with_higher_claim(offer: StepOffered, by: int) -> StepOffered:
    claim = decode_claim(offer.claim)
    return replace(offer, claim=encode_claim(replace(claim, child_fitness=_more(claim.child_fitness, by))))


def _more(fitness: int, by: int) -> int:
    return min(fitness + by, FITNESS_MAX)


class StolenCandidate:
    """Submits others' candidates as its own, and finds none itself. Powers: what it hears."""

    def __init__(self, author: bytes, payloads: PayloadCodec) -> None:
        self._author = author
        self._payloads = payloads
        self._served: RecentSet[bytes] = RecentSet(BASES_MAX)
        self._loot: list[ContributionFound] = []

    def hear(self, request: LearnerRequest) -> None:
        """The first candidate of somebody else on each model is taken."""
        match request:
            case AssessRequest(contribution):
                self._take(contribution)
            case DeliverRequest(step):
                for item in step.items:
                    self._take(item)
            case _:
                pass

    def say(self, answers: Answers) -> Answers:
        """The loot in place of what the honest learner found."""
        loot, self._loot = self._loot, []
        return (*(answer for answer in answers if not self._is_own_candidate(answer)), *loot)

    def _is_own_candidate(self, answer: LearnerAnswer) -> bool:
        return isinstance(answer, ContributionFound) and self._payloads.candidate_of(answer) is not None

    def _take(self, item: AuthoredPayload) -> None:
        if item.author == self._author or item.base in self._served:
            return
        try:
            submission = self._payloads.read(item.payload)
        except MalformedPayloadError:  # another liar's
            return
        if isinstance(submission, Candidate):
            self._served.add(item.base)
            self._loot.append(ContributionFound(item.base, item.payload))


class UnverifiableIndex:
    """Submits the last index that there is, under the claim of what it has found: a mutation that a search never comes to.

    An index that others could not check would be as good as any claim; here each is checked at the cost of one. Powers: none.
    """

    def __init__(self, payloads: PayloadCodec) -> None:
        self._payloads = payloads

    def hear(self, request: LearnerRequest) -> None:
        """Nothing of interest."""

    def say(self, answers: Answers) -> Answers:
        """Another recipe under each claim."""
        return tuple(self._recast(answer) for answer in answers)

    def _recast(self, answer: LearnerAnswer) -> LearnerAnswer:
        candidate = self._payloads.candidate_of(answer) if isinstance(answer, ContributionFound) else None
        if candidate is None or not isinstance(answer, ContributionFound):
            return answer
        unlikely = replace(candidate, recipe=Recipe((INDEX_MAX - 1,)))
        return replace(answer, payload=self._payloads.write(unlikely))
