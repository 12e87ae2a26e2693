"""Model-consensus: what a total order of candidates and scores decides, the same at every member.

Source: Kucharavy, Monti, Guerraoui, Dolamic, "Byzantine-Resilient Learning Beyond Gradients: Distributing Evolutionary
Search", arXiv 2304.13540 (model-consensus). A generation has two phases:

1. Candidates. The *slate* holds the parent ("no change") and the first candidate of every member that was delivered up to and
   including the commit in which n-f authors are reached.
2. Scores. The agreed fitness of an entry is the lower median over the first scores of every member that were delivered up to
   and including the commit in which n-f members are reached. The best wins; of equals the lowest digest, so that on a plateau
   no change has no privilege: its digest is drawn by the generation.

Of n-f >= 2f+1 or more scores at most f lie, so every agreed fitness lies within the range of honest measurements. Of n-f
candidates at least f+1 are honest, and the winner is, by the agreed fitness, as good as the best of them or better. What an
author claims of his candidate is never used.

A machine without time or chance: `deliver` each item of a commit, `end_of_commit`, and `begin` the next generation.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from learning.evolution.lineage import Mutation
from learning.evolution.payload import Candidate, MalformedPayloadError
from learning.evolution.scores import MEMBERS_MAX, Scores, decode_submission
from learning.learner import Phase, SignedPayload

DIGEST_BYTES = 32

NO_CHANGE_TAG = b"kubrat/no-change/1"
SLATE_TAG = b"kubrat/slate/1"
GENERATION_TAG = b"kubrat/generation/1"


class Ignored(StrEnum):
    """Why a submission that was delivered changes nothing, in words for people."""

    STRANGER = "not by a member"
    MALFORMED = "malformed"
    OTHER_GENERATION = "for another generation"
    SECOND_CANDIDATE = "second candidate of its author"
    LATE_CANDIDATE = "candidate for a closed slate"
    EARLY_SCORES = "scores for an open slate"
    SECOND_SCORES = "second scores of their author"
    OTHER_SLATE = "scores for another slate"
    WRONG_COUNT = "not one score for each entry"


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate on the slate; for the parent, mutation and claim are None."""

    digest: bytes
    mutation: Mutation | None
    claimed_fitness: int | None
    """Micro-units; for people alone."""


@dataclass(frozen=True, slots=True)
class Slate:
    """What is scored: the parent, then the candidates in the order of their delivery."""

    entries: tuple[Entry, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """A generation's end. `agreed`: the agreed fitness of each entry, in micro-units; `winner`: a position on the slate."""

    slate: Slate
    agreed: tuple[int, ...]
    winner: int
    scorers: tuple[bytes, ...]
    """In the order of delivery."""
    ignored: tuple[tuple[Ignored, int], ...]
    """How many submissions were ignored during this generation, by reason."""


def faulty_max(members: int) -> int:
    """f: how many of so many members may lie."""
    return (members - 1) // 3


def quorum(members: int) -> int:
    """n-f: how many are waited for, since f may never answer; more than half of them are honest."""
    return members - faulty_max(members)


def lower_median(values: Sequence[int]) -> int:
    """The middle value, the lower one of two; always one of the values."""
    return sorted(values)[(len(values) - 1) // 2]


def best_of(entries: tuple[Entry, ...], agreed: tuple[int, ...]) -> int:
    """The position of the fittest entry; of equals the one with the lowest digest."""
    return min(range(len(entries)), key=lambda place: (-agreed[place], entries[place].digest))


def no_change_digest(generation: bytes) -> bytes:
    """The parent's digest on the slate: BLAKE2b-256 over (length-prefixed tag, generation)."""
    return _digest(NO_CHANGE_TAG, generation)


def slate_digest(generation: bytes, entries: tuple[Entry, ...]) -> bytes:
    """BLAKE2b-256 over (length-prefixed tag, generation, digests of the entries in order)."""
    return _digest(SLATE_TAG, generation, *(entry.digest for entry in entries))


def next_generation(generation: bytes, winner: bytes, state: bytes) -> bytes:
    """The next generation's id: BLAKE2b-256 over (length-prefixed tag, generation, winner's digest, its state's digest)."""
    return _digest(GENERATION_TAG, generation, winner, state)


def _digest(tag: bytes, *parts: bytes) -> bytes:
    assert all(len(part) == DIGEST_BYTES for part in parts), "a part that is no digest"
    return hashlib.blake2b(bytes([len(tag)]) + tag + b"".join(parts), digest_size=DIGEST_BYTES).digest()


class ModelConsensus:
    """One member's, or an observer's, view of the generation under way."""

    def __init__(self, members: tuple[bytes, ...], generation: bytes, recipe_length_max: int) -> None:
        assert 1 <= len(members) <= MEMBERS_MAX, f"{len(members)} members, allowed 1..{MEMBERS_MAX}"
        assert len(set(members)) == len(members), "a member twice"
        self._members = frozenset(members)
        self._quorum = quorum(len(members))
        self._recipe_length_max = recipe_length_max
        self.begin(generation)

    def begin(self, generation: bytes) -> None:
        """Wait for candidates on the model of this id."""
        self._generation = generation
        self._parent = Entry(no_change_digest(generation), None, None)
        self._candidates: dict[bytes, Entry] = {}
        self._slate: Slate | None = None
        self._scores: dict[bytes, tuple[int, ...]] = {}
        self._ignored: Counter[Ignored] = Counter()
        self._is_decided = False

    @property
    def generation(self) -> bytes:
        """The id of the agreed model that candidates are mutations of."""
        return self._generation

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is on the slate, so far while it is open."""
        return (self._parent, *self._candidates.values())

    @property
    def slate(self) -> Slate | None:
        """The closed slate, or None."""
        return self._slate

    @property
    def phase(self) -> Phase:
        """What the generation waits for."""
        return Phase.CANDIDATES if self._slate is None else Phase.SCORES

    @property
    def counted(self) -> tuple[bytes, ...]:
        """The members whose part in this phase was delivered, in that order."""
        return tuple(self._candidates if self._slate is None else self._scores)

    @property
    def needed(self) -> int:
        """How many members end a phase."""
        return self._quorum

    def deliver(self, item: SignedPayload) -> Ignored | None:
        """Take the next item of the order; the reason when it changes nothing."""
        assert not self._is_decided, "a delivery before the next generation has begun"
        reason = self._taken(item)
        if reason is not None:
            self._ignored[reason] += 1
        return reason

    def end_of_commit(self) -> Slate | Decision | None:
        """What the commit has brought about: a closed slate, or the generation's end (then `begin` the next one)."""
        if len(self.counted) < self._quorum:
            return None
        if self._slate is None:
            self._slate = Slate(self.entries, slate_digest(self._generation, self.entries))
            return self._slate
        self._is_decided = True
        return self._decision(self._slate)

    def _decision(self, slate: Slate) -> Decision:
        agreed = tuple(lower_median(column) for column in zip(*self._scores.values(), strict=True))
        ignored = tuple((reason, self._ignored[reason]) for reason in Ignored if self._ignored[reason])
        return Decision(slate, agreed, best_of(slate.entries, agreed), tuple(self._scores), ignored)

    def _taken(self, item: SignedPayload) -> Ignored | None:
        if item.author not in self._members:
            return Ignored.STRANGER
        if item.base != self._generation:
            return Ignored.OTHER_GENERATION
        try:
            submission = decode_submission(item.payload, self._recipe_length_max, len(self._members))
        except MalformedPayloadError:
            return Ignored.MALFORMED
        if isinstance(submission, Candidate):
            return self._taken_candidate(item, submission)
        return self._taken_scores(item.author, submission)

    def _taken_candidate(self, item: SignedPayload, candidate: Candidate) -> Ignored | None:
        if item.author in self._candidates:
            return Ignored.SECOND_CANDIDATE
        if self._slate is not None:
            return Ignored.LATE_CANDIDATE
        mutation = Mutation(item.author, candidate.recipe)
        self._candidates[item.author] = Entry(item.digest, mutation, candidate.claimed_fitness)
        return None

    def _taken_scores(self, author: bytes, scores: Scores) -> Ignored | None:
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
