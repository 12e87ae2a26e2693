"""The joint rule: what the ranked lists of all members make of one model, and how far the next step reaches.

Mutations step by sigma: 2**k times what the schedule says. On the slate stand the parent; for each list its *direction*,
theta + sigma d_m, and its *head*, the best mutation of its author, which is the child of the published (1,λ)-search; and the
*joins* theta + 3 sigma' J + b (theta - theta_before). There J is the sum of the directions of the members who are trusted,
divided by the square root of their number, sigma' is half of sigma, sigma, or twice as much, and b is one of 0, 1/2, 1.

*Trust*: a list that at most f members have measured to gain, by its direction, while more than half of the lists have gained
for more, keeps its author out of the joins for PROBATION generations. So who sends a reversed list spoils the joins of one
generation, which another entry wins then, and no second round of scores is needed to screen the lists beforehand.

Step size: k follows a join that wins. Where one author's entry wins it stays; but where the best join loses JOIN_LOSS_MAX times
what that gains it falls by one: where few samples tell models apart, the shortest join loses least, and mutations that gain
much must not shrink with it. Where nothing wins it falls by one; or rises, if the best join is no worse either: on a plateau
who looks closer sees less. The term in b is the path of the last step (momentum; the cumulation of CMA-ES serves the same end).

Section 4 of docs/protocol.md.
"""

import hashlib
import math
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from functools import lru_cache

import numpy as np

from learning.evolution.ranked_list import RankedList, direction_sum, encode_list, list_length, squared_norm
from learning.evolution.recipe import SCALES_KEPT
from learning.evolution.rules import EvolutionRules
from learning.evolution.schedule import DECIMAL
from learning.exact import Int16Array, Int32Array, fill_children, moved, noise_key, round_factor
from learning.model_consensus.slate import best_of
from learning.state import ModelState
from learning.task import Float32Array

FIRST_SCALE = 3
"""The first join moves this many times as far as one mutation, when few members join."""

SCALE_LOWEST, SCALE_HIGHEST = -24, 12
"""Of k: below, no step shows in float32; above, no model survives the step."""

SCALE_STEPS = (-1, 0, 1)
"""What a join may add to k: half as far, as far, twice as far."""

PATH_SHARES = (0.0, 0.5, 1.0)
"""b: how much of the last step is taken once more."""

JOIN_LOSS_MAX = 4
"""Times what one author's entry gains. On a rugged landscape joins lose up to three times as much while mutations lead on; near
a good model they lose five times as much, and more."""

MEMBERS_MAX = 240
"""Scores of a parent, two entries a list and nine joins take 3,955 bytes beside the longest list; there is room for 4,096."""

PROBATION = 16
"""Generations."""

DIRECTION_LABEL = "its direction"

ENTRY_TAG = b"kubrat/joint-entry/1"


class EntryKind(IntEnum):
    """What an entry of the slate is; the value is part of its digest."""

    PARENT = 0
    DIRECTION = 1
    HEAD = 2
    JOIN = 3


@dataclass(frozen=True, slots=True)
class JointEntry:
    """One candidate for the next model."""

    digest: bytes
    kind: EntryKind
    author: bytes | None = None
    """Of a direction or a head."""
    scale: int = 0
    """k: of a join."""
    share: float = 0.0
    """b: of a join."""

    @property
    def label(self) -> str:
        """For people."""
        match self.kind:
            case EntryKind.PARENT:
                return ""
            case EntryKind.DIRECTION:
                return DIRECTION_LABEL
            case EntryKind.HEAD:
                return "its best"
            case EntryKind.JOIN:
                path = f", {self.share:g} of the path" if self.share else ""
                return f"joint, {FIRST_SCALE * 2.0**self.scale:g} steps{path}"


@dataclass(frozen=True, slots=True)
class JointState:
    """What a generation starts from besides the model; the same at every member."""

    before: Float32Array | None = None
    """The parameters before the last step, which led to other ones; None where there is no path."""
    scale: int = 0
    """k."""
    probation: tuple[int, ...] = ()
    """By member, in the order of their numbers: generations for which a list of his is in no join."""


Lists = Mapping[bytes, RankedList]
"""By author, in the order of their delivery."""


class JointRule:
    """The rule in one network. Holds nothing that changes."""

    def __init__(self, network_id: bytes, members: tuple[bytes, ...], rules: EvolutionRules) -> None:
        assert len(members) <= MEMBERS_MAX, f"{len(members)} members, allowed {MEMBERS_MAX}"
        self.network_id = network_id
        self.members = members
        self.list_length = list_length(rules.offspring)
        self._schedule = rules.schedule()

    def sigma(self, height: int, scale: int) -> np.float32:
        """How far a mutation steps: 2**k times what the schedule says."""
        return np.float32(math.ldexp(float(self._schedule.at(height)), scale))

    def first_state(self) -> JointState:
        """At genesis: nobody has lied yet."""
        return JointState(probation=(0,) * len(self.members))

    def entries(self, generation: bytes, lists: Lists, state: JointState) -> tuple[JointEntry, ...]:
        """What is measured: the parent, then direction and head of each list, then the joins."""
        entries = [JointEntry(_digest(generation, EntryKind.PARENT), EntryKind.PARENT)]
        for author, ranked in lists.items():
            content = author + encode_list(ranked)
            for kind in (EntryKind.DIRECTION, EntryKind.HEAD):
                entries.append(JointEntry(_digest(generation, kind, content), kind, author))
        shares = (0.0,) if state.before is None else PATH_SHARES
        for step in SCALE_STEPS:
            scale = min(max(state.scale + step, SCALE_LOWEST), SCALE_HIGHEST)
            for share in shares:
                digest = _digest(generation, EntryKind.JOIN, struct.pack("<bd", step, share))
                entries.append(JointEntry(digest, EntryKind.JOIN, None, scale, share))
        return tuple(entries)

    def trusted(self, authors: Collection[bytes], state: JointState) -> tuple[bytes, ...]:
        """Those of the authors whose lists are joined: who is on no probation, or, if all are, who has the least of it left."""
        left = dict(zip(self.members, state.probation, strict=True))  # nobody, under proof of work
        least = min(left.get(author, 0) for author in authors)
        return tuple(author for author in authors if left.get(author, 0) == least)

    def following(
        self,
        parent: Float32Array,
        state: JointState,
        entries: Sequence[JointEntry],
        leads: Sequence[int],
        winner: int,
        *,
        credible: Sequence[int],
    ) -> JointState:
        """After a generation. `parent`: the parameters that it started from; by entry, `leads`: the agreed ones over it,
        `credible`: the highest that more than f members have measured to be reached."""
        probation = self._probation(entries, credible, state)
        best_join = max(lead for entry, lead in zip(entries, leads, strict=True) if entry.kind is EntryKind.JOIN)
        match entries[winner].kind:
            case EntryKind.JOIN:
                return JointState(parent, entries[winner].scale, probation)
            case EntryKind.DIRECTION | EntryKind.HEAD:
                is_too_far = best_join < -JOIN_LOSS_MAX * leads[winner]
                return JointState(parent, missed_scale(best_join, state.scale) if is_too_far else state.scale, probation)
            case EntryKind.PARENT:
                return JointState(None, missed_scale(best_join, state.scale), probation)

    def _probation(self, entries: Sequence[JointEntry], credible: Sequence[int], state: JointState) -> tuple[int, ...]:
        directions = [(entry, lead) for entry, lead in zip(entries, credible, strict=True) if entry.kind is EntryKind.DIRECTION]
        failed = {entry.author for entry, lead in directions if lead <= 0}
        is_telling = 2 * len(failed) < len(directions)
        return tuple(
            PROBATION if is_telling and member in failed else max(0, left - 1)
            for member, left in zip(self.members, state.probation, strict=True)
        )


def winner_of(entries: Sequence[JointEntry], leads: Sequence[int]) -> int:
    """The position of the next model: the best join that gains; else the best entry that does; else the parent."""
    of_joins = [lead if entry.kind is EntryKind.JOIN else 0 for entry, lead in zip(entries, leads, strict=True)]
    return best_of(entries, of_joins, must_improve=True) or best_of(entries, leads, must_improve=True)


def _digest(generation: bytes, kind: EntryKind, content: bytes = b"") -> bytes:
    tagged = bytes([len(ENTRY_TAG)]) + ENTRY_TAG + generation + bytes([kind]) + content
    return hashlib.blake2b(tagged, digest_size=32).digest()


class Children:
    """The models that one slate's entries stand for. A list's direction is summed up once."""

    def __init__(self, rule: JointRule, generation: bytes, parent: ModelState, lists: Lists, state: JointState) -> None:
        self._rule = rule
        self._parent = parent
        self._sigma = rule.sigma(parent.height, state.scale)
        self._lists = lists
        self._keys = {author: noise_key(rule.network_id, generation, author) for author in lists}
        self._trusted = rule.trusted(lists, state)
        self._before = state.before
        self._directions: dict[bytes, Int16Array] = {}
        self._joined: Int32Array = np.zeros(len(parent.parameters), dtype=np.int32)
        self._summed = 0
        """How many of the trusted are in it."""

    def model(self, entry: JointEntry) -> ModelState:
        """One version after the parent."""
        return ModelState(self.parameters(entry), self._parent.height + 1)

    def authors(self, entry: JointEntry) -> tuple[bytes, ...]:
        """Whose lists are in it."""
        if entry.author is not None:
            return (entry.author,)
        return self._trusted if entry.kind is EntryKind.JOIN else ()

    def parameters(self, entry: JointEntry) -> Float32Array:
        """Of the model that the entry stands for, shape (parameters,)."""
        match entry.kind:
            case EntryKind.PARENT:
                return self._parent.parameters
            case EntryKind.HEAD:
                return self._mutation(self._author(entry))
            case EntryKind.DIRECTION:
                scale = direction_scale(self._rule.list_length, 1, self._sigma)
                return moved(self._parent.parameters, self._direction(self._author(entry)).astype(np.int32), scale)
            case EntryKind.JOIN:
                sigma = self._rule.sigma(self._parent.height, entry.scale)
                scale = direction_scale(self._rule.list_length, len(self._trusted), sigma, FIRST_SCALE)
                return moved(self._parent.parameters, self._join(), scale, self._before if entry.share else None, entry.share)

    @staticmethod
    def _author(entry: JointEntry) -> bytes:
        assert entry.author is not None, f"{entry.kind.name} of nobody"
        return entry.author

    def _mutation(self, author: bytes) -> Float32Array:
        theta = self._parent.parameters
        child = np.empty((1, len(theta)), dtype=np.float32)
        fill_children(child, theta, self._keys[author], self._lists[author].head, self._sigma)
        mutation: Float32Array = child[0]
        return mutation

    def _direction(self, author: bytes) -> Int16Array:
        if author not in self._directions:
            self._directions[author] = self._direction_sum(author)
        return self._directions[author]

    def _direction_sum(self, author: bytes) -> Int16Array:
        return direction_sum(self._lists[author], self._keys[author], len(self._parent.parameters))

    def sum_next(self) -> bool:
        """Add one more list's direction to the join; whether there is another one."""
        author = self._trusted[self._summed]
        direction = self._directions.get(author)
        self._joined += self._direction_sum(author) if direction is None else direction
        self._summed += 1
        return self._summed < len(self._trusted)

    def _join(self) -> Int32Array:
        while self._summed < len(self._trusted):
            self.sum_next()
        return self._joined


def missed_scale(lead: int, scale: int) -> int:
    """k after a generation whose best join did not gain: a shorter step where it lost, a longer one where it led nowhere.

    Who has stepped over the whole plateau without a lead looks close by again.
    """
    if lead < 0:
        return max(scale - 1, SCALE_LOWEST)
    return scale + 1 if scale < SCALE_HIGHEST else 0


@lru_cache(maxsize=SCALES_KEPT)
def direction_scale(length: int, authors: int, sigma: np.float32, times: int = 1) -> np.float32:
    """times * sigma / (|u| sqrt(authors)), to 16 significant bits."""
    size = DECIMAL.multiply(DECIMAL.create_decimal(float(sigma)), Decimal(times))
    return round_factor(DECIMAL.divide(size, DECIMAL.sqrt(Decimal(squared_norm(length) * authors))))
