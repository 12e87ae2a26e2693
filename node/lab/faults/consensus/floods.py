"""What costs its maker nothing, without end: blocks without work or without a parent, contributions by throw-away keys.

For proof of work only.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.effects import Broadcast, SetTimer
from consensus.encoding import encode
from consensus.proof_of_work.header import Block, Body, Draft, body_digest, sign_header
from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.messages import BlockMessage, ContributionMessage
from consensus.protocol import Input, OrderingProtocol
from consensus.steps import Contribution, sign_contribution
from consensus.types import DIGEST_BYTES, Height, Instant, PeerId, StepId, WallTime
from learning.evolution.payload import Candidate, encode_candidate
from learning.evolution.recipe import Recipe
from learning.exact import FITNESS_MAX
from node.lab.faults.consensus.interceptor import Effects, is_timer
from node.lab.faults.consensus.situation import ReplicaSituation

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
    """Tells everybody `per_second` false candidates a second, each by a key of its own, beside what an honest peer sends.

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
        candidate = encode_candidate(Candidate(Recipe((0,)), FITNESS_MAX))
        return sign_contribution(self._situation.network_id, author, self._ordering.status.head, candidate, key.sign)
