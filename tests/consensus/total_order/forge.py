"""People with keys, and blocks made by hand: sound ones, and ones that break a rule."""

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.encoding import Signer
from consensus.steps import Attachment, genesis_step
from consensus.total_order.block import (
    Block,
    BlockContribution,
    Checkpoint,
    CommitMark,
    Content,
    Reference,
    genesis_references,
    sign_block,
)
from consensus.total_order.committee import Committee
from consensus.types import Digest, NetworkId, PeerId

NETWORK = NetworkId(hashlib.blake2b(b"a network of tests", digest_size=32).digest())
START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Person:
    """A key pair."""

    id: PeerId
    sign: Signer


@functools.cache
def person(name: str) -> Person:
    """The same key for the same name."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.blake2b(name.encode(), digest_size=32).digest())
    return Person(PeerId(key.public_key().public_bytes_raw()), key.sign)


@functools.cache
def people(count: int) -> tuple[Person, ...]:
    """Members 0 to count - 1."""
    return tuple(person(f"member {index}") for index in range(count))


@functools.cache
def committee_of(count: int) -> Committee:
    return Committee(tuple(member.id for member in people(count)))


def stub_sign(peer: PeerId) -> Signer:
    """A signature for large graphs: quick, and only as good as the test that uses it."""
    return lambda digest: hashlib.blake2b(peer + digest, digest_size=64).digest()


def stub_verify(peer: PeerId, digest: Digest, signature: bytes) -> bool:
    return hashlib.blake2b(peer + digest, digest_size=64).digest() == signature


@dataclass(frozen=True)
class Forged:
    """A block and its name."""

    digest: Digest
    block: Block

    @property
    def reference(self) -> Reference:
        return Reference(self.block.content.round, self.block.content.author, self.digest)


class Forge:
    """Makes blocks of a committee of `count`."""

    def __init__(self, count: int, *, is_real: bool = True) -> None:
        self.committee = committee_of(count)
        self.genesis = genesis_references(NETWORK, self.committee)
        self.is_real = is_real

    def content(self, author: int, number: int, parents: Iterable[Reference], **changes: object) -> Content:
        wanted: dict[str, object] = {
            "author": author,
            "round": number,
            "parents": tuple(parents),
            "items": (),
            "attachments": (),
            "time_ms": START_MS + number,
            "commit": CommitMark(0, genesis_step(NETWORK)),
            "checkpoint": None,
        }
        return Content(**(wanted | changes))  # type: ignore[arg-type]

    def block(self, author: int, number: int, parents: Iterable[Reference], **changes: object) -> Forged:
        """Signed by its author; `parents` with the author's own first."""
        content = self.content(author, number, parents, **changes)
        member = people(self.committee.size)[author]
        return Forged(*sign_block(NETWORK, content, member.sign if self.is_real else stub_sign(member.id)))

    def first(self, author: int, **changes: object) -> Forged:
        """A sound block of round 1."""
        return self.block(author, 1, own_first(author, self.genesis), **changes)

    def on(self, author: int, parents: Iterable[Forged], **changes: object) -> Forged:
        """A sound block of the round after its newest parent."""
        references = own_first(author, [parent.reference for parent in parents])
        return self.block(author, max(reference.round for reference in references) + 1, references, **changes)


def own_first(author: int, references: Iterable[Reference]) -> tuple[Reference, ...]:
    return tuple(sorted(references, key=lambda reference: (reference.author != author, reference.author)))


def item(payload: bytes = b"payload") -> BlockContribution:
    return BlockContribution(bytes(32), payload)


def attachment(name: str, length: int = 100_000) -> Attachment:
    return Attachment(hashlib.blake2b(name.encode(), digest_size=32).digest(), length)


def checkpoint(index: int, digest: bytes, state: bytes) -> Checkpoint:
    return Checkpoint(index, digest, state)
