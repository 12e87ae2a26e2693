"""The joint rule over a total order: which lists stand on a slate, when it is closed, and what its scores decide.

A generation has two phases (arXiv 2304.13540, model-consensus):

1. Lists. The slate is closed with the commit that brings the last member's list, or with the one after that which brings the
   n-f-th: who is no later than a round than the others is on it. Of whom the whole generation before has brought nothing, no
   list is waited for: who falls silent costs one commit, once.
2. Scores. The agreed lead of an entry is the lower median, over the first scores of every member delivered up to and including
   the commit in which n-f members are reached, of its score less the parent's. The best join wins if its lead is above 0; else
   the best of all entries, if its lead is; else the parent. Of equals the lowest digest.

Scores may come with a list for the generation that follows, made on the model of the entry that its author expects to win. It
counts as a list of that generation if that entry wins. So where honest members measure alike a generation costs one agreement.

Of n-f scores or more at most f lie: every agreed lead lies within the range of honest measurements, and so does the (f+1)-th
highest, by which lists are screened: liars alone neither clear a list nor bar one. A machine without time or chance, the same
at every member: `deliver` each item of a commit, then `end_of_commit`.

Section 6 of docs/protocol.md.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from learning.evolution.joint_memory import Memory
from learning.evolution.joint_step import JointEntry, JointRule, winner_of
from learning.evolution.joint_submission import ScoresAndList, decode_joint
from learning.evolution.ranked_list import RankedList
from learning.learner import AuthoredPayload, Phase, faulty_max, quorum
from learning.model_consensus.slate import (
    Ignored,
    MalformedPayloadError,
    Scores,
    Slate,
    leads,
    lower_median,
    slate_digest,
)


@dataclass(frozen=True, slots=True)
class Decision:
    """A generation's end."""

    slate: Slate[JointEntry]
    leads: tuple[int, ...]
    """The agreed lead of each entry over the parent, in micro-units."""
    credible: tuple[int, ...]
    """The highest lead of each entry that more than f scorers, so an honest one, have measured to be reached."""
    fitness: tuple[int, ...]
    """The lower median of each entry's scores, in micro-units; for people."""
    winner: int
    """A position on the slate."""
    scorers: tuple[bytes, ...]
    """In the order of delivery."""
    early_lists: Mapping[bytes, RankedList]
    """For the generation that follows, in the order of delivery."""
    ignored: tuple[tuple[Ignored, int], ...]
    """How many submissions were ignored during this generation, by reason."""
    silent: tuple[bytes, ...]
    """Members of whom nothing was delivered in it: the next one does not wait for their lists."""


class JointConsensus:
    """One member's, or an observer's, view of the generation under way."""

    def __init__(self, rule: JointRule, generation: bytes, memory: Memory) -> None:
        self._rule = rule
        self._members = frozenset(rule.members)
        self._awaited = self._members.difference(memory.silent)
        self._heard: set[bytes] = set()
        """Of whom anything was delivered in this generation, of use or not."""
        self._quorum = quorum(len(rule.members))
        self._faulty_max = faulty_max(len(rule.members))
        self.generation = generation
        self._state = memory.state
        self._origin = memory.origin
        self._lists: dict[bytes, RankedList] = dict(memory.lists)
        self._is_last_commit = False
        """Whether the slate is closed at the end of this commit, whatever it brings."""
        self._slate: Slate[JointEntry] | None = None
        self._scores: dict[bytes, tuple[int, ...]] = {}
        self._early: dict[bytes, ScoresAndList] = {}
        self._ignored: Counter[Ignored] = Counter()
        self._close_if_due()

    @property
    def lists(self) -> Mapping[bytes, RankedList]:
        """By author, in the order of their delivery."""
        return MappingProxyType(self._lists)

    @property
    def slate(self) -> Slate[JointEntry] | None:
        """The closed slate, or None."""
        return self._slate

    @property
    def phase(self) -> Phase:
        """What the generation waits for."""
        return Phase.CANDIDATES if self._slate is None else Phase.SCORES

    @property
    def counted(self) -> tuple[bytes, ...]:
        """The members whose part in this phase was delivered, in that order."""
        return tuple(self._lists if self._slate is None else self._scores)

    @property
    def needed(self) -> int:
        """How many members end a phase, sooner or later."""
        return self._quorum

    @property
    def awaits_commit(self) -> bool:
        """Whether the slate is closed with the next commit, whatever it brings."""
        return self._slate is None and self._is_last_commit

    def deliver(self, item: AuthoredPayload) -> Ignored | None:
        """Take the next item of the order; the reason when it changes nothing."""
        reason = self._take(item)
        if reason is not None:
            self._ignored[reason] += 1
        return reason

    def end_of_commit(self) -> Slate[JointEntry] | Decision | None:
        """What the commit has brought about: a closed slate, or the generation's end."""
        if self._slate is None:
            self._close_if_due()
            return self._slate
        return self._decision(self._slate) if len(self._scores) >= self._quorum else None

    def _close_if_due(self) -> None:
        is_due = self._is_last_commit or self._awaited.issubset(self._lists)
        if is_due and len(self._lists) >= self._quorum:
            entries = self._rule.entries(self.generation, self._lists, self._state)
            self._slate = Slate(entries, slate_digest(self.generation, entries))
        self._is_last_commit = len(self._lists) >= self._quorum

    def _decision(self, slate: Slate[JointEntry]) -> Decision:
        rows = tuple(self._scores.values())
        fitness = tuple(lower_median(column) for column in zip(*rows, strict=True))
        columns = tuple(zip(*map(leads, rows), strict=True))
        agreed = tuple(map(lower_median, columns))
        credible = tuple(sorted(column, reverse=True)[self._faulty_max] for column in columns)
        winner = winner_of(slate.entries, agreed)
        early = {author: both.ranked for author, both in self._early.items() if both.winner == winner}
        ignored = tuple((reason, self._ignored[reason]) for reason in Ignored if self._ignored[reason])
        silent = tuple(member for member in self._rule.members if member not in self._heard)
        return Decision(slate, agreed, credible, fitness, winner, tuple(self._scores), early, ignored, silent)

    def _take(self, item: AuthoredPayload) -> Ignored | None:
        if item.author not in self._members:
            return Ignored.OUTSIDER
        self._heard.add(item.author)
        is_late = self._origin is not None and item.base == self._origin.generation
        if item.base != self.generation and not is_late:
            return Ignored.OTHER_GENERATION
        if item.attached:
            return Ignored.MALFORMED
        try:
            submission = decode_joint(item.payload, self._rule.list_length)
        except MalformedPayloadError:
            return Ignored.MALFORMED
        if is_late:
            return self._take_late(item.author, submission)
        match submission:
            case RankedList():
                return self._take_list(item.author, submission)
            case Scores():
                return self._take_scores(item.author, submission)
            case ScoresAndList():
                reason = self._take_scores(item.author, submission.scores)
                if reason is None:
                    self._early[item.author] = submission
                return reason

    def _take_late(self, author: bytes, submission: RankedList | Scores | ScoresAndList) -> Ignored | None:
        """Of the generation before: its scores come too late, the list that came with them need not."""
        assert self._origin is not None, "late without an origin"
        if not isinstance(submission, ScoresAndList) or submission.winner != self._origin.winner:
            return Ignored.OTHER_GENERATION
        return self._take_list(author, submission.ranked)

    def _take_list(self, author: bytes, ranked: RankedList) -> Ignored | None:
        if author in self._lists:
            return Ignored.SECOND_CANDIDATE
        if self._slate is not None:
            return Ignored.LATE_CANDIDATE
        self._lists[author] = ranked
        return None

    def _take_scores(self, author: bytes, scores: Scores) -> Ignored | None:
        if self._slate is None:
            return Ignored.EARLY_SCORES
        if scores.slate != self._slate.digest:
            return Ignored.OTHER_SLATE
        if len(scores.values) != len(self._slate.entries):
            return Ignored.WRONG_COUNT
        if author in self._scores:
            return Ignored.SECOND_SCORES
        self._scores[author] = scores.values
        return None
