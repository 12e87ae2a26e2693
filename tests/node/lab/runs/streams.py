"""Events made by hand, as checkers see them."""

import hashlib
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.proof_of_work.header import Block as WorkBlock
from consensus.proof_of_work.header import Body, Header, header_id
from consensus.proof_of_work.puzzle import TARGET_BYTES, start_target
from consensus.steps import Attachment
from consensus.total_order.block import Block, BlockContribution, CommitMark, Content, Reference, block_digest
from consensus.types import Instant, NetworkId, PeerId
from learning.learner import AuthoredPayload, DeliveredStep, ProposedStep, StepAdopted
from node.lab.checkers.finding import Checker, Event, Finding, Seen
from tests.node.lab.simulation.world import WORK

NETWORK = NetworkId(hashlib.blake2b(b"a network of streams", digest_size=32).digest())

KEYS = tuple(Ed25519PrivateKey.from_private_bytes(bytes([number + 1]) * 32) for number in range(4))
MEMBERS = tuple(PeerId(key.public_key().public_bytes_raw()) for key in KEYS)
ALICE, BOB, CAROL, DAVE = MEMBERS
HONEST = frozenset({ALICE, BOB, CAROL})
"""All but Dave."""
NO_SIGNATURE = bytes(64)


def name_of(text: str) -> bytes:
    """32 bytes that stand for something called so."""
    return hashlib.blake2b(text.encode(), digest_size=32).digest()


GENESIS = name_of("genesis")


def seen(peer: PeerId, event: Event, *, at: int = 0, incarnation: int = 0) -> Seen:
    return Seen(Instant(at), peer, incarnation, event)


def findings(checker: Checker, events: Iterable[Seen]) -> list[Finding]:
    """All that it finds; it is shown what it says it reads, and nothing else."""
    shown = [event for event in events if event.kind in checker.reads]
    return [finding for event in shown if (finding := checker.see(event)) is not None]


def details(checker: Checker, *events: Seen) -> list[str]:
    return [finding.detail for finding in findings(checker, events)]


def payload(author: PeerId, text: str, base: str = "base") -> AuthoredPayload:
    return AuthoredPayload(name_of(text), author, name_of(base), text.encode())


def delivery(height: int, *items: AuthoredPayload, name: str = "", parent: str = "") -> DeliveredStep:
    """Commit `height` of the one history, unless it is given another name or parent."""
    own, before = name or f"commit {height}", parent or f"commit {height - 1}"
    return DeliveredStep(name_of(own), name_of(before), height, items)


def proposal(
    name: str, parent: str, height: int, *contributions: AuthoredPayload, leader: PeerId = ALICE, state: str = ""
) -> ProposedStep:
    return ProposedStep(name_of(name), name_of(parent), height, leader, contributions, b"", name_of(state or f"state {name}"))


def head(name: str, height: int, state: str = "") -> StepAdopted:
    return StepAdopted(name_of(name), height, 0.0, {}, name_of(state or f"state {name}"))


def dag_block(author: int, round_number: int, text: str = "") -> tuple[Reference, Block]:
    """A block of a member, its parents made up; checkers look at none of them."""
    parents = tuple(Reference(round_number - 1, index, name_of(f"{round_number - 1}/{index}")) for index in range(4))
    items = (BlockContribution(GENESIS, text.encode()),) if text else ()
    mark = CommitMark(0, GENESIS)
    content = Content(author, round_number, parents, items, (), 0, mark, None)
    reference = Reference(round_number, author, block_digest(NETWORK, content))
    return reference, Block(content, NO_SIGNATURE)


def work_block(
    parent: bytes,
    height: int,
    time_ms: int,
    *,
    leader: PeerId = ALICE,
    target: int | None = None,
    nonce: int = 0,
) -> tuple[bytes, WorkBlock]:
    """A block of proof of work and its id; its puzzle is not solved."""
    wanted = start_target(WORK.start_attempts) if target is None else target
    body = Body((), b"", name_of("state"))
    header = Header(
        parent,
        height,
        time_ms,
        leader,
        wanted.to_bytes(TARGET_BYTES, "big"),
        name_of("body"),
        nonce.to_bytes(8, "big"),
        NO_SIGNATURE,
    )
    return header_id(NETWORK, header), WorkBlock(header, body)


def large(text: str) -> Attachment:
    """A large payload that nobody holds."""
    return Attachment(name_of(text), 100)
