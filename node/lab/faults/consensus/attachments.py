"""Large payloads that are named to do harm: junk without end, and one that all have forgotten (total order only)."""

from hashlib import blake2b

import msgspec

from consensus.effects import Broadcast, Halt, Record, Send, SetTimer
from consensus.encoding import MalformedBytesError, encode
from consensus.protocol import Input, Received, Submitted
from consensus.steps import Attachment, genesis_step
from consensus.total_order.block import (
    ATTACHMENTS_MAX,
    BlockContribution,
    Content,
    Reference,
    block_digest,
    genesis_references,
    sign_block,
)
from consensus.total_order.messages import BlockMessage
from consensus.types import DIGEST_BYTES, Digest, Instant, PeerId
from learning.aggregation.quantised import payload_digest
from learning.gradient.ledger import GradientSubmission, decode_submission, encode_submission
from node.lab.faults.consensus.interceptor import Effects, ReplicaSituation, contents_of, is_timer
from node.lab.faults.consensus.withheld_parts import Serving
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


ROUNDS_KEPT = 4
"""Newest rounds whose blocks it could name as parents."""

NOBODYS = Digest(blake2b(b"a block that nobody has", digest_size=DIGEST_BYTES).digest())


class ForgottenPayload:
    """Says two blocks in all. The first names a parent that nobody has: its payload is fetched, and it is never ordered. The
    second is sound, and names the same payload when nothing wants it any more.

    Who takes it for held because it once was would deliver what it cannot read. The gradient is one of its own, each time on
    the newest model, so that nothing else is in the way. Powers: its own key.
    """

    def __init__(self, after_ms: int, *, gives_again: bool, situation: ReplicaSituation) -> None:
        """`gives_again`: whether anybody gets the payload the second time."""
        self._after_ms = after_ms
        self._gives_again = gives_again
        self._situation = situation
        self._own_blocks = situation.own_blocks
        self._genesis = genesis_references(situation.network_id, situation.committee)[situation.index]
        self._row: Record | None = None
        """The payload: the first that its own learner has computed."""
        self._newest: dict[int, dict[int, tuple[Reference, Content]]] = {}
        """Others' blocks of the newest rounds, by round and author."""
        self._model: GradientSubmission | None = None
        """Somebody's gradient on the newest model."""
        self._due_at: Instant | None = None
        self._said = 0

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything; it learns from what others send."""
        if isinstance(event, Received) and self._said < 2:
            self._learn(event.message)
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:
        """No own block but those two. Its machine stops once it hears of them; the peer does not."""
        said: list[OuterEffect] = []
        for effect in effects:
            if isinstance(effect, Record) and effect.table == PAYLOAD_TABLE and self._row is None:
                self._row = effect
            if isinstance(effect, Halt):
                continue
            if isinstance(effect, Send | Broadcast) and self._own_blocks.carried(effect.message):
                continue
            said.append(effect)
        return (*said, *self._block_that_is_due(now))

    def serving(self, peer: PeerId) -> Serving:  # noqa: ARG002
        """The first time to everybody."""
        return Serving.GIVES if self._gives_again or self._said < 2 else Serving.SILENT

    def _learn(self, message: bytes) -> None:
        try:
            contents = contents_of(message)
        except MalformedBytesError:  # another liar's
            return
        for content in contents:
            reference = Reference(content.round, content.author, block_digest(self._situation.network_id, content))
            self._newest.setdefault(content.round, {})[content.author] = (reference, content)
            for item in content.items:
                submission = decode_submission(item.payload)
                if submission is not None and (self._model is None or submission.base > self._model.base):
                    self._model = submission
        for old in sorted(self._newest)[:-ROUNDS_KEPT]:
            del self._newest[old]

    def _block_that_is_due(self, now: Instant) -> Effects:
        """The first as soon as it can be made, the second so long after it."""
        is_due = self._said == 0 or (self._said == 1 and self._due_at is not None and now >= self._due_at)
        before = self._round_to_build_on() if is_due else None
        if before is None or self._row is None or self._model is None:
            return ()
        self._said += 1
        self._due_at = Instant(now + self._after_ms)
        payload = Attachment(Digest(self._row.key), len(self._row.value))
        named = msgspec.structs.replace(self._model, payload=payload.digest, length=payload.length)
        return (self._row, self._block(before, payload, encode_submission(named)))

    def _round_to_build_on(self) -> int | None:
        quorum, own = self._situation.committee.quorum, self._situation.index
        complete = (number for number, blocks in self._newest.items() if len(blocks.keys() - {own}) >= quorum)
        return max((number for number in complete if self._said or self._is_passed_over(number)), default=None)

    def _is_passed_over(self, number: int) -> bool:
        """Whether the horizon goes over this round and the next one in one step: it never lets in what waits for the one.

        It follows the leaders that are committed, and our own slots are skipped.
        """
        return self._situation.committee.leader_of(number + self._situation.gc_depth) == self._situation.index

    def _block(self, before: int, payload: Attachment, submission: bytes) -> Broadcast:
        situation = self._situation
        others = [found for author, found in sorted(self._newest[before].items()) if author != situation.index]
        parents = [reference for reference, _ in others]
        if self._said == 1:
            parents[-1] = Reference(before, parents[-1].author, NOBODYS)
        _, model = others[0]
        content = Content(
            author=situation.index,
            round=before + 1,
            parents=(self._genesis, *parents),
            items=(BlockContribution(bytes(DIGEST_BYTES), submission),),
            attachments=(payload,),
            time_ms=model.time_ms,
            commit=model.commit,
            checkpoint=None,
        )
        _, block = sign_block(situation.network_id, content, situation.sign)
        return Broadcast(encode(BlockMessage(block)))
