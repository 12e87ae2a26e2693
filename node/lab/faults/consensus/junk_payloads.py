"""Large payloads that are worth nothing, as many as blocks can name (total order only)."""

from hashlib import blake2b

from consensus.effects import Record, SetTimer
from consensus.protocol import Input, Submitted
from consensus.steps import Attachment, genesis_step
from consensus.total_order.block import ATTACHMENTS_MAX
from consensus.types import Digest, Instant
from learning.aggregation.quantised import payload_digest
from node.lab.faults.consensus.interceptor import Effects, is_timer
from node.lab.faults.consensus.situation import ReplicaSituation
from node.runtime.coupling import OuterEffect
from node.storage.tables import PAYLOAD_TABLE

JUNK_TIMER = "fault/junk-payloads"

JUNK_MS = 200
"""How often: about as often as a member signs blocks."""


class JunkPayloads:
    """Names `bytes` of junk in its blocks, eight payloads at a time, and hands them over to who asks.

    Everybody must hold what an accepted block names, so it fills lines and disks. Powers: none.
    """

    def __init__(self, length: int, situation: ReplicaSituation) -> None:
        self._length = length
        self._situation = situation
        self._count = 0
        self._rows: list[OuterEffect] = []
        self._is_due = True

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything; its own timer is junk that it hands in."""
        if not is_timer(event, JUNK_TIMER):
            return (event,)
        self._is_due = True
        contents = [self._junk() for _ in range(ATTACHMENTS_MAX)]
        digests = [Digest(payload_digest(content)) for content in contents]
        self._rows += [Record(PAYLOAD_TABLE, digest, content) for digest, content in zip(digests, contents, strict=True)]
        attachments = tuple(Attachment(digest, self._length) for digest in digests)
        return (Submitted(genesis_step(self._situation.network_id), b"junk", attachments),)

    def say(self, effects: Effects, now: Instant) -> Effects:
        """Everything, behind the junk that must be held first."""
        rows, self._rows = tuple(self._rows), []
        if not self._is_due:
            return (*rows, *effects)
        self._is_due = False
        return (*rows, *effects, SetTimer(JUNK_TIMER, Instant(now + JUNK_MS)))

    def _junk(self) -> bytes:
        self._count += 1
        seed = blake2b(self._situation.identity + b"%d" % self._count, digest_size=32).digest()
        return (seed * (1 + self._length // len(seed)))[: self._length]
