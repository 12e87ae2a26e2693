"""What costs its maker nothing, without end: blocks without work or without a parent, contributions by throw-away keys.

For proof of work only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.effects import Broadcast, SetTimer
from consensus.encoding import MalformedBytesError, encode
from consensus.proof_of_work.block_tree import BlockIndex, genesis_link, header_fault, next_link, next_target
from consensus.proof_of_work.header import Block, Body, Draft, Header, body_digest, header_id, sign_header
from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.messages import MESSAGE_CODEC, BlockMessage, Blocks, ContributionMessage, Headers
from consensus.protocol import Input, OrderingProtocol, Received
from consensus.steps import Contribution, genesis_step, sign_contribution
from consensus.types import DIGEST_BYTES, Height, Instant, PeerId, StepId, WallTime
from learning.evolution.joint_blocks import ClaimedList, encode_claimed_list
from learning.evolution.payload import Candidate, encode_candidate
from learning.evolution.ranked_list import LIST_INDEX_MAX, LIST_LENGTH_MAX, RankedList, list_length
from learning.evolution.recipe import Recipe
from learning.evolution.rules import EvolutionRules, Strategy
from learning.exact import FITNESS_MAX
from node.common.bounded import BoundedMap
from node.lab.faults.consensus.interceptor import Effects, ReplicaSituation, is_timer

HEADER_TIMER = "fault/header-flood"
ORPHAN_TIMER = "fault/orphan-flood"
CONTRIBUTION_TIMER = "fault/contribution-flood"

FLOOD_MS = 1_000
"""How often the flood comes."""


@dataclass(frozen=True, slots=True)
class Forger:
    """Makes signed blocks that nobody has worked for, on top of the head that its machine knows."""

    situation: ReplicaSituation
    ordering: OrderingProtocol

    def block(self, number: int, now: Instant, *, has_parent: bool) -> Block:
        """The forged block of this number; no two are alike."""
        assert isinstance(self.ordering, ProofOfWork), "a flood of blocks is for proof of work"
        network_id, head = self.situation.network_id, self.ordering.status
        body = Body((), b"", _digest(number))
        draft = Draft(
            StepId(head.head),
            Height(head.height + 1),
            WallTime(max(0, now)),
            self.situation.identity,
            head.target,
            body_digest(network_id, body),
        )
        if not has_parent:
            draft = replace(draft, parent=StepId(_digest(-number)), height=Height(head.height + 2))
        return Block(sign_header(network_id, draft, number, self.situation.sign), body)


def _digest(number: int) -> bytes:
    return blake2b(b"%d" % number, digest_size=DIGEST_BYTES).digest()


class BlockFlood:
    """Sends `per_second` forged blocks a second to everybody, beside what an honest peer sends.

    Without work, on a true parent: each receiver computes one memory-hard puzzle to find out. Without a parent: each is kept
    for a while, and its parent asked for. Source: the header and orphan floods that Bitcoin Core bounds ("headers presync",
    2022; CVE-2012-3789 for orphans). Powers: its own key.
    """

    def __init__(self, per_second: int, forger: Forger, *, has_parent: bool) -> None:
        self._per_second = per_second
        self._forger = forger
        self._has_parent = has_parent
        self._timer = HEADER_TIMER if has_parent else ORPHAN_TIMER
        self._next_number = 1
        self._is_due = True

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything but its own timer."""
        if not is_timer(event, self._timer):
            return (event,)
        self._is_due = True
        return ()

    def say(self, effects: Effects, now: Instant) -> Effects:
        """Everything; and the flood when its time has come."""
        if not self._is_due:
            return effects
        self._is_due = False
        numbers = range(self._next_number, self._next_number + self._per_second)
        self._next_number = numbers.stop
        blocks = (self._forger.block(number, now, has_parent=self._has_parent) for number in numbers)
        flood = tuple(Broadcast(encode(BlockMessage(block))) for block in blocks)
        return (*effects, *flood, SetTimer(self._timer, Instant(now + FLOOD_MS)))


class ContributionFlood:
    """Tells everybody `per_second` false claims a second, each by a key of its own, beside what an honest peer sends.

    Each claims to be the best there is, so who hears it rebuilds a model and measures it; and the key that has lied is never
    used again. Source: "Sybil attack" (Douceur, 2002). Powers: keys without end.
    """

    def __init__(self, per_second: int, situation: ReplicaSituation, ordering: OrderingProtocol) -> None:
        self._per_second = per_second
        self._situation = situation
        self._ordering = ordering
        self._keys_used = 0
        self._is_due = True

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything but its own timer."""
        if not is_timer(event, CONTRIBUTION_TIMER):
            return (event,)
        self._is_due = True
        return ()

    def say(self, effects: Effects, now: Instant) -> Effects:
        """Everything; and the flood when its time has come."""
        if not self._is_due:
            return effects
        self._is_due = False
        flood = tuple(Broadcast(encode(ContributionMessage(self._lie()))) for _ in range(self._per_second))
        return (*effects, *flood, SetTimer(CONTRIBUTION_TIMER, Instant(now + FLOOD_MS)))

    def _lie(self) -> Contribution:
        assert isinstance(self._ordering, ProofOfWork), "a flood of contributions is for proof of work"
        self._keys_used += 1
        key = Ed25519PrivateKey.from_private_bytes(_digest(self._keys_used))
        author = PeerId(key.public_key().public_bytes_raw())
        claim = false_claim(self._situation.evolution, self._keys_used, FITNESS_MAX)
        return sign_contribution(self._situation.network_id, author, self._ordering.status.head, claim, key.sign)


def false_claim(rules: EvolutionRules, number: int, fitness: int) -> bytes:
    """What members of such a network offer between blocks, a candidate or a ranked list, claiming this for what nobody ranked.

    `number`: tells one from the other.
    """
    first = number % (LIST_INDEX_MAX - LIST_LENGTH_MAX)
    if rules.strategy is not Strategy.JOINT:
        return encode_candidate(Candidate(Recipe((first,)), fitness))
    indices = tuple(range(first, first + list_length(rules.offspring)))
    return encode_claimed_list(ClaimedList(RankedList(indices), fitness))


WORKLESS_TIMER = "fault/workless-headers"

AGAIN_MS = 300
"""How often it sends another chain: a key is of use once, and costs a handshake."""

LINKS_MAX = 1_024
"""Newest blocks whose place it remembers."""


class WorklessHeaders:
    """Sends chains of `length` signed blocks without work on top of the heaviest chain it knows, again and again.

    Their place, target, time and signature are right; only the puzzle tells, and it takes a memory-hard hash to find out. What
    counts them before that waits for blocks that do not exist, and a processor that verifies without a limit mines no more.
    Source: as for `header-flood`. Powers: its own key, and a new one after each refusal where it is an outsider.
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
