"""Blocks without work by keys that were made a moment ago, of which nothing is known yet (proof of work only)."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.encoding import encode
from consensus.proof_of_work.block_tree import BlockIndex, genesis_link, next_link, next_target
from consensus.proof_of_work.header import Block, Body, Draft, Header, body_digest, header_id, sign_header
from consensus.proof_of_work.messages import (
    HEADERS_MAX,
    LOCATOR_MAX,
    MESSAGE_CODEC,
    BlockMessage,
    GetHeaders,
    Headers,
    Place,
)
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.steps import genesis_step
from consensus.types import DIGEST_BYTES, Height, NetworkId, PeerId
from node.common.address import Address
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import UnauthenticatedClient, Visit, outsider_at
from node.net.wire import GossipFrame, OrderingFrame

CHAIN_BLOCKS = 9
"""One more than a peer may be behind before it stops leading."""

ANSWER_SECONDS_MAX = 5.0
"""For the headers of the chain that it builds on."""

STAY_SECONDS_MAX = 2.0
"""Whoever is not refused by then comes again all the same."""

STEP = 16
"""Every so many headers are named in a question: a reorganisation is never deeper than a few of them."""


class Scout:
    """The headers of the targets' chain, as any newcomer asks for them; their puzzles are not looked at."""

    def __init__(self, network_id: NetworkId, rules: ProofOfWorkRules) -> None:
        self._network_id = network_id
        self._rules = rules
        self._path: list[BlockIndex] = [genesis_link(genesis_step(network_id))]

    @property
    def tip(self) -> BlockIndex:
        """The newest header known."""
        return self._path[-1]

    def question(self) -> GetHeaders:
        """For what follows."""
        known = [self._path[0], *self._path[:0:-STEP]][:LOCATOR_MAX]
        places = (Place(link.height, link.id) for link in sorted(known, key=lambda link: -link.height))
        return GetHeaders(tuple(dict.fromkeys(places)))

    def extend(self, headers: Iterable[Header]) -> None:
        """Take over the branch of an answer."""
        for header in headers:
            step = header_id(self._network_id, header)
            if header.height < len(self._path) and self._path[header.height].id == step:
                continue
            if header.height > len(self._path) or self._path[header.height - 1].id != header.parent:
                return
            del self._path[header.height :]
            self._path.append(next_link(self._path[-1], step, header, self._rules))

    def workless(self, seed: bytes, length: int = CHAIN_BLOCKS) -> tuple[Block, ...]:
        """A chain on the tip that keeps every rule but the puzzle's, by the key of this seed (32 bytes)."""
        key = Ed25519PrivateKey.from_private_bytes(seed)
        leader = PeerId(key.public_key().public_bytes_raw())
        body = Body((), b"", seed[:DIGEST_BYTES])
        link, blocks = self.tip, []
        for number in range(length):
            draft = Draft(
                link.id,
                Height(link.height + 1),
                link.next_time_min,
                leader,
                next_target(link, self._rules),
                body_digest(self._network_id, body),
            )
            header = sign_header(self._network_id, draft, number, key.sign)
            link = next_link(link, header_id(self._network_id, header), header, self._rules)
            blocks.append(Block(header, body))
        return tuple(blocks)


def coming_under_fresh_keys(situation: NetworkSituation) -> Visit:
    """Asks where the chain ends, says nine blocks without work on top of it, and comes back as somebody else.

    Each key costs its target a puzzle to find out. Source: "Sybil attack" (Douceur, 2002).
    """
    assert situation.work_rules is not None, "blocks without work are for proof of work"
    scout = Scout(situation.network_id, situation.work_rules)

    async def visit(target: Address) -> None:
        async with outsider_at(target, situation) as outsider:
            if not await outsider.shake_hands():
                return
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await look(outsider, scout)
            for block in scout.workless(situation.random.randbytes(32)):
                await outsider.say(GossipFrame(encode(BlockMessage(block))))
            with suppress(TimeoutError):
                async with asyncio.timeout(STAY_SECONDS_MAX):
                    await outsider.wait_for_the_end()

    return visit


async def look(outsider: UnauthenticatedClient, scout: Scout) -> None:
    """Ask for headers until there are no more. Raises ChannelClosedError, FrameError."""
    while True:
        await outsider.say(OrderingFrame(encode(scout.question())))
        headers = await _headers(outsider)
        scout.extend(headers)
        if len(headers) < HEADERS_MAX:
            return


async def _headers(outsider: UnauthenticatedClient) -> tuple[Header, ...]:
    while True:
        frame = await outsider.channel.receive()
        if isinstance(frame, OrderingFrame):
            message = MESSAGE_CODEC.decode(frame.message)
            if isinstance(message, Headers):
                return message.headers
