"""Model-consensus: what a total order of candidates and scores decides, the same at every member.

Source: Kucharavy, Monti, Guerraoui, Dolamic, "Byzantine-Resilient Learning Beyond Gradients: Distributing Evolutionary
Search", arXiv 2304.13540 (model-consensus). A generation has two phases:

1. Candidates. The *slate* holds the parent ("no change") and what follows from the first candidate of every member that was
   delivered up to and including the commit in which n-f authors are reached. What a candidate is, a mutation or a gradient, is
   a `Candidacy`; entries of one digest count once.
2. Scores. The agreed fitness of an entry is the lower median over the first scores of every member that were delivered up to
   and including the commit in which n-f members are reached. The best wins; of equals the lowest digest. Or, where a
   candidacy says so, what counts is each member's lead of an entry over the parent, and the best must be above 0 to win.

Of n-f >= 2f+1 or more scores at most f lie, so every agreed fitness lies within the range of honest measurements. Of n-f
candidates at least f+1 are honest, and the winner is, by the agreed fitness, as good as the best of them or better. What an
author claims of his candidate is never used.

A machine without time or chance: `deliver` each item of a commit, `end_of_commit`, and `begin` the next generation.

Section 6 of docs/protocol.md.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.learner import AuthoredPayload, Phase, quorum


class MalformedPayloadError(ValueError):
    """What a peer signed is no candidate, claim, step or scores; the message names field, value and the range allowed."""


MEMBERS_MAX = 500
"""Scores of a slate of 500 candidates and the parent take 4,044 bytes, and a submission has room for 4,096."""

VALUES_MAX = 507
"""What that room holds: 36 bytes, and 8 for each entry."""

SCORES_VERSION = 1

SCORES_KIND = 2
"""The first byte of a submission of scores; 1 is a candidate, 3 a gradient."""

_SCORES_HEAD = struct.Struct("<B32sH")
VALUE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Scores:
    """What a member measured. `values`: micro-units, one for each entry of the slate of this digest, in its order."""

    slate: bytes
    values: tuple[int, ...]


def encode_scores(scores: Scores) -> bytes:
    """35 bytes, and 8 for each entry of the slate."""
    head = _SCORES_HEAD.pack(SCORES_VERSION, scores.slate, len(scores.values))
    return head + struct.pack(f"<{len(scores.values)}q", *scores.values)


def decode_scores(data: bytes, values_max: int) -> Scores:
    """The inverse of encode_scores, of so many values at most. Raises MalformedPayloadError."""
    if len(data) < _SCORES_HEAD.size:
        raise MalformedPayloadError(f"scores of {len(data)} bytes, allowed {_SCORES_HEAD.size + VALUE_BYTES} or more")
    version, slate, count = _SCORES_HEAD.unpack_from(data)
    if version != SCORES_VERSION:
        raise MalformedPayloadError(f"scores version is {version}, allowed {SCORES_VERSION}")
    if not 1 <= count <= values_max:
        raise MalformedPayloadError(f"scores hold {count} values, allowed 1..{values_max}")
    expected = _SCORES_HEAD.size + VALUE_BYTES * count
    if len(data) != expected:
        raise MalformedPayloadError(f"scores of {len(data)} bytes, expected {expected} for {count} values")
    values: tuple[int, ...] = struct.unpack_from(f"<{count}q", data, _SCORES_HEAD.size)
    for value in values:
        if not FITNESS_LOWEST <= value <= FITNESS_MAX:
            raise MalformedPayloadError(f"score is {value}, allowed {FITNESS_LOWEST}..{FITNESS_MAX}")
    return Scores(slate, values)


DIGEST_BYTES = 32

SLATE_TAG = b"kubrat/slate/1"
GENERATION_TAG = b"kubrat/generation/1"


class Ignored(StrEnum):
    """Why a submission that was delivered changes nothing, in words for people."""

    OUTSIDER = "not by a member"
    MALFORMED = "malformed"
    OTHER_GENERATION = "for another generation"
    SECOND_CANDIDATE = "second candidate of its author"
    LATE_CANDIDATE = "candidate for a closed slate"
    EARLY_SCORES = "scores for an open slate"
    SECOND_SCORES = "second scores of their author"
    OTHER_SLATE = "scores for another slate"
    WRONG_COUNT = "not one score for each entry"


class Listed(Protocol):
    """What stands on a slate."""

    @property
    def digest(self) -> bytes:
        """32 bytes; names the entry, and breaks ties."""
        ...


C = TypeVar("C")
"""A candidate as its author submits it, decoded."""

E = TypeVar("E", bound=Listed)
"""An entry of the slate."""


@dataclass(frozen=True, slots=True)
class Slate(Generic[E]):
    """What is scored: the parent, then what the candidates put up in the order of their delivery, then the joint entries."""

    entries: tuple[E, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class GenerationResult(Generic[E]):
    """A generation's end. `agreed`: the agreed fitness of each entry, in micro-units; `winner`: a position on the slate."""

    slate: Slate[E]
    agreed: tuple[int, ...]
    winner: int
    scorers: tuple[bytes, ...]
    """In the order of delivery."""
    ignored: tuple[tuple[Ignored, int], ...]
    """How many submissions were ignored during this generation, by reason."""


class Candidacy(Protocol[C, E]):
    """How one kind of candidates is read, and what it puts on the slate. Equal submissions give equal entries everywhere."""

    @property
    def counts_leads(self) -> bool:
        """Whether the agreed fitness is the lower median of each member's score less the parent's by the same member.

        Then the parent wins unless another's is above 0; else it has no privilege.
        """
        ...

    def parent(self, generation: bytes) -> E | None:
        """The entry that stands for "no change"; None where a candidate wins in any case."""
        ...

    def read(self, payload: bytes) -> C | Scores:
        """What a member submits. Raises MalformedPayloadError."""
        ...

    def entries(self, item: AuthoredPayload, candidate: C) -> tuple[E, ...]:
        """What this candidate, read from this item, puts on the slate. Raises MalformedPayloadError."""
        ...

    def joint(self, entries: tuple[E, ...]) -> tuple[E, ...]:
        """What follows from all candidates together once the slate is closed; `entries`: what each has put up, in order."""
        ...


def lower_median(values: Sequence[int]) -> int:
    """The middle value, the lower one of two; always one of the values."""
    return sorted(values)[(len(values) - 1) // 2]


def leads(values: Sequence[int]) -> tuple[int, ...]:
    """One member's scores, each less that of the parent, the first of them."""
    return tuple(value - values[0] for value in values)


def best_of(entries: Sequence[Listed], agreed: Sequence[int], *, must_improve: bool = False) -> int:
    """The position of the fittest entry; of equals the one with the lowest digest.

    `must_improve`: it is the parent, at position 0, unless the fittest is fitter.
    """
    best = min(range(len(entries)), key=lambda place: (-agreed[place], entries[place].digest))
    return 0 if must_improve and agreed[best] <= agreed[0] else best


def slate_digest(generation: bytes, entries: Sequence[Listed]) -> bytes:
    """BLAKE2b-256 over (length-prefixed tag, generation, digests of the entries in order)."""
    return tagged_digest(SLATE_TAG, generation, *(entry.digest for entry in entries))


def next_generation(generation: bytes, winner: bytes, state: bytes) -> bytes:
    """The next generation's id: BLAKE2b-256 over (length-prefixed tag, generation, winner's digest, its state's digest)."""
    return tagged_digest(GENERATION_TAG, generation, winner, state)


def tagged_digest(tag: bytes, *parts: bytes) -> bytes:
    """BLAKE2b-256 over the length-prefixed tag and parts of 32 bytes each."""
    assert all(len(part) == DIGEST_BYTES for part in parts), "a part that is no digest"
    return hashlib.blake2b(bytes([len(tag)]) + tag + b"".join(parts), digest_size=DIGEST_BYTES).digest()


class ModelConsensus(Generic[C, E]):
    """One member's, or an observer's, view of the generation under way."""

    def __init__(self, members: tuple[bytes, ...], generation: bytes, candidacy: Candidacy[C, E]) -> None:
        assert 1 <= len(members) <= MEMBERS_MAX, f"{len(members)} members, allowed 1..{MEMBERS_MAX}"
        assert len(set(members)) == len(members), "a member twice"
        self._members = frozenset(members)
        self._quorum = quorum(len(members))
        self._candidacy = candidacy
        self.begin(generation)

    def begin(self, generation: bytes) -> None:
        """Wait for candidates on the model of this id."""
        self._generation = generation
        parent = self._candidacy.parent(generation)
        self._entries: dict[bytes, E] = {} if parent is None else {parent.digest: parent}
        self._candidates: dict[bytes, tuple[E, ...]] = {}
        self._slate: Slate[E] | None = None
        self._scores: dict[bytes, tuple[int, ...]] = {}
        self._ignored: Counter[Ignored] = Counter()
        self._is_decided = False
        self._misread: set[bytes] = set()
        """Whose candidate has come to nothing in this commit: so many are read of one author, and no more."""

    @property
    def generation(self) -> bytes:
        """The id of the agreed model that candidates start from."""
        return self._generation

    @property
    def entries(self) -> tuple[E, ...]:
        """What is on the slate, so far while it is open."""
        return tuple(self._entries.values())

    @property
    def slate(self) -> Slate[E] | None:
        """The closed slate, or None."""
        return self._slate

    @property
    def candidates(self) -> Mapping[bytes, tuple[E, ...]]:
        """What each author has put up, in the order of delivery, equal entries of others before him included."""
        return MappingProxyType(self._candidates)

    @property
    def scores(self) -> Mapping[bytes, tuple[int, ...]]:
        """The scores that count, by their author, in the order of delivery."""
        return MappingProxyType(self._scores)

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

    def deliver(self, item: AuthoredPayload) -> Ignored | None:
        """Take the next item of the order; the reason when it changes nothing."""
        assert not self._is_decided, "a delivery before the next generation has begun"
        reason = self._take(item)
        if reason is not None:
            self._ignored[reason] += 1
        return reason

    def end_of_commit(self) -> Slate[E] | GenerationResult[E] | None:
        """What the commit has brought about: a closed slate, or the generation's end (then `begin` the next one)."""
        self._misread.clear()
        if len(self.counted) < self._quorum:
            return None
        if self._slate is None:
            self._list(self._candidacy.joint(tuple(chain.from_iterable(self._candidates.values()))))
            self._slate = Slate(self.entries, slate_digest(self._generation, self.entries))
            return self._slate
        self._is_decided = True
        return self._decision(self._slate)

    def _list(self, entries: Iterable[E]) -> None:
        for entry in entries:
            self._entries.setdefault(entry.digest, entry)

    def _decision(self, slate: Slate[E]) -> GenerationResult[E]:
        counts_leads = self._candidacy.counts_leads
        rows = tuple(leads(values) if counts_leads else values for values in self._scores.values())
        agreed = tuple(lower_median(column) for column in zip(*rows, strict=True))
        winner = best_of(slate.entries, agreed, must_improve=counts_leads)
        ignored = tuple((reason, self._ignored[reason]) for reason in Ignored if self._ignored[reason])
        return GenerationResult(slate, agreed, winner, tuple(self._scores), ignored)

    def _take(self, item: AuthoredPayload) -> Ignored | None:
        if item.author not in self._members:
            return Ignored.OUTSIDER
        if item.base != self._generation:
            return Ignored.OTHER_GENERATION
        try:
            submission = self._candidacy.read(item.payload)
            if isinstance(submission, Scores):
                return self._take_scores(item.author, submission)
            return self._take_candidate(item, submission)
        except MalformedPayloadError:
            return Ignored.MALFORMED

    def _take_candidate(self, item: AuthoredPayload, candidate: C) -> Ignored | None:
        if item.author in self._candidates:
            return Ignored.SECOND_CANDIDATE
        if self._slate is not None:
            return Ignored.LATE_CANDIDATE
        if item.author in self._misread:
            return Ignored.SECOND_CANDIDATE
        self._misread.add(item.author)
        entries = self._candidacy.entries(item, candidate)
        self._candidates[item.author] = entries
        self._list(entries)
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
