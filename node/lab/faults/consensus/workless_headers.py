"""Chains of signed blocks on top of the head that nobody has worked for (proof of work only)."""

from collections.abc import Iterator
from hashlib import blake2b

from consensus.effects import Broadcast, SetTimer
from consensus.encoding import MalformedBytesError, encode
from consensus.proof_of_work.block_tree import BlockIndex, genesis_link, header_fault, next_link, next_target
from consensus.proof_of_work.header import Block, Body, Draft, Header, body_digest, header_id, sign_header
from consensus.proof_of_work.messages import MESSAGE_CODEC, BlockMessage, Blocks, Headers
from consensus.protocol import Input, Received
from consensus.steps import genesis_step
from consensus.types import DIGEST_BYTES, Height, Instant, StepId, WallTime
from node.common.bounded import BoundedMap
from node.lab.faults.consensus.interceptor import Effects, is_timer
from node.lab.faults.consensus.situation import ReplicaSituation

WORKLESS_TIMER = "fault/workless-headers"

AGAIN_MS = 300
"""How often it sends another chain: a key is of use once, and costs a handshake."""

LINKS_MAX = 1_024
"""Newest blocks whose place it remembers."""


class WorklessHeaders:
    """Sends chains of `length` signed blocks without work on top of the heaviest chain it knows, again and again.

    Their place, target, time and signature are right; only the puzzle tells, and it takes a memory-hard hash to find out. What
    counts them before that waits for blocks that do not exist, and a processor that verifies without a limit mines no more.
    Source: as for `header-flood`. Powers: its own key, and a new one after each refusal where it is a stranger.
    """

    def __init__(self, length: int, situation: ReplicaSituation) -> None:
        assert situation.work_rules is not None, "a chain without work is for proof of work"
        self._length = length
        self._situation = situation
        self._rules = situation.work_rules
        genesis = genesis_link(genesis_step(situation.network_id))
        self._links: BoundedMap[StepId, BlockIndex] = BoundedMap(LINKS_MAX)
        self._links[genesis.id] = genesis
        self._head = genesis
        self._count = 0
        self._is_due = True

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything but its own timer; it learns from what others send."""
        if is_timer(event, WORKLESS_TIMER):
            self._is_due = True
            return ()
        if isinstance(event, Received):
            for header in _headers(event.message):
                self._learn(header)
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:
        """Everything; and a chain when its time has come."""
        if not self._is_due:
            return effects
        self._is_due = False
        chain = tuple(Broadcast(encode(BlockMessage(block))) for block in self._chain(now))
        return (*effects, *chain, SetTimer(WORKLESS_TIMER, Instant(now + AGAIN_MS)))

    def _learn(self, header: Header) -> None:
        parent = self._links.get(StepId(header.parent))
        if parent is None or header_fault(parent, header, self._rules) is not None:
            return
        link = next_link(parent, header_id(self._situation.network_id, header), header, self._rules)
        self._links[link.id] = link
        if link.work > self._head.work:
            self._head = link

    def _chain(self, now: Instant) -> Iterator[Block]:
        link, network_id = self._head, self._situation.network_id
        for _ in range(self._length):
            self._count += 1
            body = Body((), b"", blake2b(b"%d" % self._count, digest_size=DIGEST_BYTES).digest())
            time_ms = max(WallTime(now), link.next_time_min)
            target, digest = next_target(link, self._rules), body_digest(network_id, body)
            draft = Draft(link.id, Height(link.height + 1), time_ms, self._situation.identity, target, digest)
            header = sign_header(network_id, draft, self._count, self._situation.sign)
            link = next_link(link, header_id(network_id, header), header, self._rules)
            yield Block(header, body)


def _headers(message: bytes) -> tuple[Header, ...]:
    """All that stand in a message."""
    try:
        match MESSAGE_CODEC.decode(message):
            case BlockMessage(block):
                return (block.header,)
            case Headers(headers):
                return headers
            case Blocks(blocks):
                return tuple(block.header for block in blocks)
            case _:
                return ()
    except MalformedBytesError:  # another liar's
        return ()
