"""Commits that lead nowhere, for whoever is behind."""

from collections.abc import Callable
from hashlib import blake2b

import msgspec

from consensus.effects import Send
from consensus.encoding import encode
from consensus.protocol import Input
from consensus.total_order.block import Reference
from consensus.total_order.committee import MEMBERS_MAX
from consensus.total_order.linearizer import CommitRecord
from consensus.total_order.messages import MESSAGE_CODEC, Commits
from consensus.types import DIGEST_BYTES, Instant
from node.lab.faults.consensus.interceptor import Effects

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


def _of_strangers(record: CommitRecord) -> CommitRecord:
    stranger = Reference(record.leader.round, MEMBERS_MAX - 1, bytes(DIGEST_BYTES))
    return msgspec.structs.replace(record, references=(stranger,))


def _of_inventions(record: CommitRecord) -> CommitRecord:
    invented = (Reference(number, 0, _nowhere(number)) for number in range(1, INVENTED + 1))
    return msgspec.structs.replace(record, references=tuple(invented))


FALSIFICATIONS: tuple[Callable[[CommitRecord], CommitRecord], ...] = (_far_above, _later, _of_strangers, _of_inventions)


def _nowhere(number: int) -> bytes:
    return blake2b(b"%d" % number, digest_size=DIGEST_BYTES).digest()
