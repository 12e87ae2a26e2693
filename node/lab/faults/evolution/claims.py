"""Lies about candidates and ranked lists: what they are worth, whose they are, which they are.

Lies about what others' candidates are worth (total order only) are bounded by a median over honest majorities: the scores are
those of model-consensus (arXiv 2304.13540). And a liar does not doubt its own lies.
"""

from collections.abc import Callable
from dataclasses import replace

from learning.evolution.joint_submission import ScoresAndList
from learning.evolution.payload import Candidate
from learning.evolution.ranked_list import LIST_INDEX_MAX, RankedList
from learning.evolution.recipe import INDEX_MAX, Recipe
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.following.line import LineLearner
from learning.learner import (
    AssessRequest,
    AuthoredPayload,
    CheckRequest,
    ContributionAssessed,
    ContributionFound,
    DeliverRequest,
    LearnerAnswer,
    LearnerRequest,
    StepChecked,
    StepOffered,
    Verdict,
)
from learning.model_consensus.slate import MalformedPayloadError, Scores
from node.common.bounded import RecentSet
from node.lab.faults.evolution.interceptor import Answers, LearnerSituation, PayloadCodec

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
                claimed = self._payloads.claimed_by(answer)
                if claimed is None:
                    return answer
                higher = replace(claimed, claimed_fitness=_more(claimed.claimed_fitness, self._by))
                return replace(answer, payload=self._payloads.write(higher))
            case StepOffered():
                return self._payloads.with_claim_of(answer, lambda fitness: _more(fitness, self._by))
            case _:
                return answer


class ContestedClaim:
    """As leader it claims for the child the measured fitness and `by` micro-units: the tolerance, or just beyond it.

    At the tolerance honest measurements that differ by a unit disagree about the block, which without the rule for contested
    blocks would split the network (docs/protocol.md, on contested blocks). Powers: none.
    """

    def __init__(self, by: int, payloads: PayloadCodec) -> None:
        self._by = by
        self._payloads = payloads

    def hear(self, request: LearnerRequest) -> None:
        """Nothing of interest."""

    def say(self, answers: Answers) -> Answers:
        """Higher claims for blocks."""
        return tuple(
            self._payloads.with_claim_of(answer, lambda fitness: _more(fitness, self._by))
            if isinstance(answer, StepOffered)
            else answer
            for answer in answers
        )


def _more(fitness: int, by: int) -> int:
    return min(fitness + by, FITNESS_MAX)


class StolenCandidate:
    """Submits others' candidates, or lists with their scores, as its own, and finds none itself. Powers: what it hears."""

    def __init__(self, author: bytes, payloads: PayloadCodec) -> None:
        self._author = author
        self._payloads = payloads
        self._served: RecentSet[bytes] = RecentSet(BASES_MAX)
        self._loot: list[ContributionFound] = []

    def hear(self, request: LearnerRequest) -> None:
        """The first one of somebody else on each model is taken."""
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
        return (*(answer for answer in answers if not self._is_own_offer(answer)), *loot)

    def _is_own_offer(self, answer: LearnerAnswer) -> bool:
        return isinstance(answer, ContributionFound) and self._payloads.offers(answer.payload)

    def _take(self, item: AuthoredPayload) -> None:
        if item.author == self._author or item.base in self._served:
            return
        try:
            is_loot = self._payloads.offers(item.payload)
        except MalformedPayloadError:  # another liar's
            return
        if is_loot:
            self._served.add(item.base)
            self._loot.append(ContributionFound(item.base, item.payload))


class UnverifiableIndex:
    """Submits the last index that there is, under the claim of what it has found: a mutation that a search never comes to.

    Where members rank, the last indices in place of its list.

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
        if not isinstance(answer, ContributionFound):
            return answer
        candidate = self._payloads.read(answer.payload)
        if not isinstance(candidate, Candidate):
            return self._payloads.with_list(answer, _last_indices)
        unlikely = replace(candidate, recipe=Recipe((INDEX_MAX - 1,)))
        return replace(answer, payload=self._payloads.write(unlikely))


def _last_indices(ranked: RankedList) -> RankedList:
    return RankedList(tuple(range(LIST_INDEX_MAX - len(ranked.indices), LIST_INDEX_MAX)))


class ScoresInverted:
    """Scores the best as the worst and the worst as the best, within the range that it measured. Powers: none."""

    def __init__(self, payloads: PayloadCodec) -> None:
        self._payloads = payloads

    def hear(self, request: LearnerRequest) -> None:
        """Nothing of interest."""

    def say(self, answers: Answers) -> Answers:
        """Scores upside down."""
        return _rescore(answers, self._payloads, _inverted)


def _inverted(scores: Scores) -> tuple[int, ...]:
    values = scores.values
    return tuple(max(values) + min(values) - value for value in values)


class ColludingScorers:
    """Scores what all liars have put up as high as can be, all else as low. Powers: who the other liars are."""

    def __init__(self, situation: LearnerSituation) -> None:
        self._colluders = situation.colluders
        self._own = situation.own
        self._payloads = PayloadCodec(situation)

    def hear(self, request: LearnerRequest) -> None:
        """Nothing of interest."""

    def say(self, answers: Answers) -> Answers:
        """Scores by author."""
        return _rescore(answers, self._payloads, self._scores_of)

    def _scores_of(self, scores: Scores) -> tuple[int, ...]:
        """The slate is the one that its own learner has just measured."""
        assert isinstance(self._own, LineLearner), "scores without a total order"
        slate = self._own.follower.consensus.slate
        assert slate is not None, "scores of an open slate"
        assert slate.digest == scores.slate, "scores of another slate"
        return tuple(FITNESS_MAX if entry.author in self._colluders else FITNESS_LOWEST for entry in slate.entries)


Rescore = Callable[[Scores], tuple[int, ...]]
"""From scores to other values, in the order of the slate."""


def _rescore(answers: Answers, payloads: PayloadCodec, rescore: Rescore) -> Answers:
    return tuple(_with_scores(answer, payloads, rescore) for answer in answers)


def _with_scores(answer: LearnerAnswer, payloads: PayloadCodec, rescore: Rescore) -> LearnerAnswer:
    if not isinstance(answer, ContributionFound):
        return answer
    match payloads.read(answer.payload):
        case Scores() as scores:
            return replace(answer, payload=payloads.write(replace(scores, values=rescore(scores))))
        case ScoresAndList(scores) as both:
            return replace(answer, payload=payloads.write(replace(both, scores=replace(scores, values=rescore(scores)))))
        case _:
            return answer


class OwnWorkIsGood:
    """Calls each contribution and step of its own good, but for those that cannot be applied: these stop its own learner too.

    Every request is answered before the next one, so what is remembered is the last one.
    """

    def __init__(self, author: bytes) -> None:
        self._author = author
        self._own: bytes | None = None
        """The contribution or step that is asked about, if it is ours."""

    def hear(self, request: LearnerRequest) -> None:
        """Whose work is it?"""
        match request:
            case AssessRequest(contribution):
                self._own = contribution.digest if contribution.author == self._author else None
            case CheckRequest(step):
                self._own = step.id if step.leader == self._author else None
            case _:
                self._own = None

    def say(self, answers: Answers) -> Answers:
        """Praise for our own."""
        return tuple(self._praise(answer) for answer in answers)

    def _praise(self, answer: LearnerAnswer) -> LearnerAnswer:
        match answer:
            case ContributionAssessed(digest, verdict) if digest == self._own and verdict is not Verdict.INVALID:
                return ContributionAssessed(digest, Verdict.GOOD, is_useful=True, detail="")
            case StepChecked(step, verdict) if step == self._own and verdict is not Verdict.INVALID:
                return StepChecked(step, Verdict.GOOD, is_proven_lie=False, detail="")
            case _:
                return answer
