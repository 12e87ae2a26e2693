"""Commits that lead nowhere, or on without end, for whoever is behind (total order only)."""

from collections.abc import Callable
from hashlib import blake2b

import msgspec

from consensus.effects import Send
from consensus.encoding import MalformedBytesError, encode
from consensus.protocol import Input, Received
from consensus.total_order.block import Reference
from consensus.total_order.committee import MEMBERS_MAX
from consensus.total_order.linearizer import CommitRecord, commit_digest
from consensus.total_order.messages import MESSAGE_CODEC, Commits, GetCommits
from consensus.types import DIGEST_BYTES, Instant, PeerId
from node.common.bounded import BoundedMap
from node.lab.faults.consensus.interceptor import Effects, ReplicaSituation

INVENTED = 2_000
"""References to blocks that nobody has, in one commit: 92 kB of the 750 that one may hold."""


class FalseCommits:
    """Answers every request for commits with false ones, in turns: others than asked for, changed, invented (total order only).

    Whoever joins or catches up must ask somebody, and judge the answer by what members have signed (Castro, Liskov, "Practical
    Byzantine Fault Tolerance and Proactive Recovery", TOCS 2002, section 5.3, on state transfer). Powers: none.
    """

    def __init__(self) -> None:
        self._answered = 0

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """Everything else, and other commits."""
        return tuple(self._falsify(effect) if isinstance(effect, Send) else effect for effect in effects)

    def _falsify(self, effect: Send) -> Send:
        answer = MESSAGE_CODEC.decode(effect.message)
        if not isinstance(answer, Commits) or not answer.records:
            return effect
        falsify = FALSIFICATIONS[self._answered % len(FALSIFICATIONS)]
        self._answered += 1
        first, *others = answer.records
        return Send(effect.peer, encode(Commits(answer.number, (falsify(first), *others))))


def _far_above(record: CommitRecord) -> CommitRecord:
    return msgspec.structs.replace(record, index=record.index + 1_000_000)


def _later(record: CommitRecord) -> CommitRecord:
    return msgspec.structs.replace(record, time_ms=record.time_ms + 1)


def _of_outsiders(record: CommitRecord) -> CommitRecord:
    outsider = Reference(record.leader.round, MEMBERS_MAX - 1, bytes(DIGEST_BYTES))
    return msgspec.structs.replace(record, references=(outsider,))


def _of_inventions(record: CommitRecord) -> CommitRecord:
    invented = (Reference(number, 0, _nowhere(number)) for number in range(1, INVENTED + 1))
    return msgspec.structs.replace(record, references=tuple(invented))


FALSIFICATIONS: tuple[Callable[[CommitRecord], CommitRecord], ...] = (_far_above, _later, _of_outsiders, _of_inventions)


def _nowhere(number: int) -> bytes:
    return blake2b(b"%d" % number, digest_size=DIGEST_BYTES).digest()


ASKED_MAX = 1_024
"""Questions remembered; the oldest are forgotten first."""


class EndlessJoin:
    """Answers each question for commits with `records` made-up ones of `references` made-up blocks each.

    They chain from each other, so nobody can tell by one answer alone. Who believes them before enough members vouch asks for
    blocks that do not exist; who takes one after the other never arrives. Source: forged state of joining replicas (Castro and
    Liskov, "Practical Byzantine Fault Tolerance", OSDI 1999, section 5.3.2, on state transfer). Powers: none.
    """

    def __init__(self, records: int, references: int, situation: ReplicaSituation) -> None:
        self._records = records
        self._references = references
        self._situation = situation
        self._asked: BoundedMap[tuple[PeerId, int], int] = BoundedMap(ASKED_MAX)
        self._last: dict[PeerId, tuple[int, bytes]] = {}
        """By who asks: the last false commit that it was told of, and its digest. There it goes on, if it believes us."""

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything; it remembers from where on it is asked."""
        if isinstance(event, Received):
            self._note(event)
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:
        """Everything, with false commits in place of true ones."""
        return tuple(self._falsify(effect, now) if isinstance(effect, Send) else effect for effect in effects)

    def _note(self, event: Received) -> None:
        try:
            question = MESSAGE_CODEC.decode(event.message)
        except MalformedBytesError:  # another liar's
            return
        if isinstance(question, GetCommits):
            self._asked[event.peer, question.number] = question.first

    def _falsify(self, effect: Send, now: Instant) -> Send:
        answer = MESSAGE_CODEC.decode(effect.message)
        if not isinstance(answer, Commits):
            return effect
        first = max(1, self._asked.get((effect.peer, answer.number)) or 1)
        last_index, previous = self._last.get(effect.peer, (0, b""))
        if first != last_index + 1:
            previous = answer.records[0].previous if answer.records else _nothing(b"commit", first)
        made: list[CommitRecord] = []
        for index in range(first, first + self._records):
            record = self._invent(index, previous, now)
            previous = commit_digest(self._situation.network_id, record)
            made.append(record)
        self._last[effect.peer] = (first + self._records - 1, previous)
        return Send(effect.peer, encode(Commits(answer.number, tuple(made))))

    def _invent(self, index: int, previous: bytes, now: Instant) -> CommitRecord:
        size = self._situation.committee.size
        places = range(self._references)
        blocks = [Reference(1 + index + place // size, place % size, _nothing(b"%d" % index, place)) for place in places]
        leader = blocks[-1] if blocks else Reference(1 + index, index % size, _nothing(b"leader", index))
        return CommitRecord(index, previous, leader, max(0, now), tuple(blocks))


def _nothing(what: bytes, number: int) -> bytes:
    """A digest that nothing has."""
    return blake2b(b"%b/%d" % (what, number), digest_size=DIGEST_BYTES).digest()
