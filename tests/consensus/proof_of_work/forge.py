"""Blocks made to measure for tests: real keys, real puzzles, the smallest memory."""

import hashlib
from dataclasses import dataclass, replace

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.encoding import Signer
from consensus.proof_of_work.block_tree import BlockIndex, genesis_link, next_link, next_target
from consensus.proof_of_work.header import Block, Body, Draft, body_digest, header_id, puzzle_prefix, sign_header
from consensus.proof_of_work.puzzle import search_nonce
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.steps import Contribution, genesis_step
from consensus.types import Digest, Height, NetworkId, PeerId, StepId

NETWORK = NetworkId(b"n" * 32)
START_MS = 1_800_000_000_000

RULES = ProofOfWorkRules(
    block_interval_ms=1_000,
    start_attempts=1,
    puzzle_memory_kib=8,
    half_life_blocks=30,
    finality_depth=12,
    contest_depth=4,
    future_limit_ms=4_000,
)


@dataclass(frozen=True)
class Person:
    """A key pair."""

    id: PeerId
    sign: Signer


def person(name: str) -> Person:
    """The same key for the same name."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.blake2b(name.encode(), digest_size=32).digest())
    return Person(PeerId(key.public_key().public_bytes_raw()), key.sign)


def state_after(parent: bytes, contributions: tuple[Contribution, ...] = ()) -> Digest:
    """A stand-in for the model: any digest that all peers compute alike."""
    hasher = hashlib.blake2b(parent, digest_size=32)
    for contribution in contributions:
        hasher.update(contribution.payload)
    return Digest(hasher.digest())


@dataclass(frozen=True)
class Forged:
    """A block and its place."""

    id: StepId
    block: Block
    link: BlockIndex


class Forge:
    """Builds branches; with start_attempts 1 and blocks no quicker than the interval every nonce is a solution."""

    def __init__(self, rules: ProofOfWorkRules = RULES, network_id: NetworkId = NETWORK) -> None:
        self.rules = rules
        self.network_id = network_id
        self.genesis = genesis_link(genesis_step(network_id))

    def draft(self, parent: BlockIndex, leader: Person, body: Body, time_ms: int | None = None) -> Draft:
        """The header that belongs on top of `parent`."""
        time_ms = (parent.time_ms or START_MS - 1_000) + 1_000 if time_ms is None else time_ms
        height = Height(parent.height + 1)
        target = next_target(parent, self.rules)
        return Draft(parent.id, height, time_ms, leader.id, target, body_digest(self.network_id, body))

    def body(self, parent: BlockIndex, contributions: tuple[Contribution, ...] = (), claim: bytes = b"") -> Body:
        """What leads to `state_after`."""
        return Body(contributions, claim, state_after(parent.id, contributions))

    def seal(self, draft: Draft, body: Body, leader: Person, *, is_solved: bool = True) -> Block:
        """Search a nonce and sign."""
        nonce = 0
        if is_solved:
            found = search_nonce(puzzle_prefix(self.network_id, draft), draft.target, self.rules.puzzle_memory_kib, 0, 100_000)
            assert found is not None
            nonce = found
        return Block(sign_header(self.network_id, draft, nonce, leader.sign), body)

    def forged(self, parent: BlockIndex, block: Block) -> Forged:
        """The block with its id and link."""
        step = header_id(self.network_id, block.header)
        return Forged(step, block, next_link(parent, step, block.header, self.rules))

    def child(
        self,
        parent: BlockIndex,
        leader: Person,
        *,
        contributions: tuple[Contribution, ...] = (),
        claim: bytes = b"",
        time_ms: int | None = None,
    ) -> Forged:
        """A sound block; without contributions, if there are none given."""
        body = self.body(parent, contributions, claim=claim)
        return self.forged(parent, self.seal(self.draft(parent, leader, body, time_ms), body, leader))

    def branch(self, parent: BlockIndex, leader: Person, length: int, claim: bytes = b"") -> tuple[Forged, ...]:
        """Sound blocks, one on top of the other."""
        made: list[Forged] = []
        for _ in range(length):
            made.append(self.child(made[-1].link if made else parent, leader, claim=claim))
        return tuple(made)

    def bent(self, parent: BlockIndex, leader: Person, **changes: object) -> Block:
        """A solved and signed block whose draft differs from the rules in `changes`."""
        body = self.body(parent)
        return self.seal(replace(self.draft(parent, leader, body), **changes), body, leader)


def resigned(block: Block, signature: bytes) -> Block:
    """The block with another signature; its id stays."""
    return msgspec.structs.replace(block, header=msgspec.structs.replace(block.header, signature=signature))
