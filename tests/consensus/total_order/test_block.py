"""What a block must keep on its own: each broken rule has its own offence."""

import msgspec
import pytest

from consensus.effects import Offence
from consensus.encoding import MalformedBytesError, encode, is_signed_by
from consensus.steps import Attachment
from consensus.total_order.block import (
    ATTACHMENTS_MAX,
    BLOCK_BYTES_MAX,
    BLOCK_CODEC,
    ITEMS_MAX,
    BlockContribution,
    Reference,
    block_digest,
    content_fault,
)
from consensus.types import NetworkId
from tests.consensus.total_order.forge import NETWORK, Forge, attachment, item, own_first, people

FORGE = Forge(4)
FIRST = [FORGE.first(author) for author in range(4)]
SECOND = [FORGE.on(author, FIRST) for author in range(4)]


def fault(author: int, number: int, parents: tuple[Reference, ...]) -> tuple[Offence, str] | None:
    return content_fault(FORGE.content(author, number, parents), FORGE.committee, FORGE.genesis)


def test_a_block_on_a_quorum_is_sound() -> None:
    assert fault(0, 2, own_first(0, [block.reference for block in FIRST[:3]])) is None


def test_the_own_parent_may_be_of_any_earlier_round() -> None:
    parents = (FORGE.genesis[0], *[block.reference for block in FIRST[1:]])
    assert fault(0, 2, parents) is None


def test_the_digest_names_the_content_and_its_network() -> None:
    content = FIRST[0].block.content
    assert block_digest(NETWORK, content) == FIRST[0].digest
    assert block_digest(NetworkId(bytes(32)), content) != FIRST[0].digest
    assert is_signed_by(people(4)[0].id, FIRST[0].digest, FIRST[0].block.signature)


@pytest.mark.parametrize(
    ("author", "number", "parents", "expected"),
    [
        (4, 1, FORGE.genesis, (Offence.UNKNOWN_MEMBER, "author is 4, allowed: 0 to 3")),
        (0, 1, FORGE.genesis[1:], (Offence.WRONG_PARENTS, "parents[0] is by member 1, allowed: 0")),
        (0, 1, (*FORGE.genesis[:3], FORGE.genesis[2]), (Offence.DUPLICATE_PARENT, "two parents by member 2, allowed: 1")),
        (0, 1, (*FORGE.genesis, FORGE.genesis[0]), (Offence.DUPLICATE_PARENT, "two parents by member 0, allowed: 1")),
        (
            0,
            1,
            (*FORGE.genesis, Reference(0, 7, bytes(32))),
            (Offence.WRONG_PARENTS, "parent by member 7, allowed: 0 to 3"),
        ),
        (0, 1, FORGE.genesis[:2], (Offence.TOO_FEW_PARENTS, "2 parents of round 0, allowed: 3 or more")),
        (
            0,
            2,
            (FIRST[0].reference, FIRST[1].reference, FORGE.genesis[2], FORGE.genesis[3]),
            (Offence.TOO_FEW_PARENTS, "2 parents of round 1, allowed: 3 or more"),
        ),
        (
            0,
            2,
            (*[block.reference for block in FIRST[:3]], SECOND[3].reference),
            (Offence.WRONG_PARENTS, "parent of round 2, allowed: 0 to 1"),
        ),
        (
            0,
            1,
            (*FORGE.genesis[:3], Reference(0, 3, bytes(32))),
            (Offence.WRONG_PARENTS, "parent of round 0 by member 3 is not its genesis block"),
        ),
    ],
)
def test_each_broken_rule_has_its_own_offence(
    author: int, number: int, parents: tuple[Reference, ...], expected: tuple[Offence, str]
) -> None:
    assert fault(author, number, parents) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"round": 0}, "round"),
        ({"round": 2**40 + 1}, "round"),
        ({"author": -1}, "author"),
        ({"parents": ()}, "parents"),
        ({"items": (item(),) * (ITEMS_MAX + 1)}, "items"),
        ({"items": (BlockContribution(bytes(32), bytes(4_097)),)}, "items"),
        ({"items": (BlockContribution(bytes(31), b""),)}, "items"),
        ({"items": (item(),) * 2, "attachments": (attachment("a"), attachment("b"))}, "attachments"),
        ({"attachments": (Attachment(bytes(32), 0),)}, "attachments"),
        ({"time_ms": -1}, "time_ms"),
    ],
)
def test_values_out_of_range_are_malformed(changes: dict[str, object], message: str) -> None:
    block = msgspec.structs.replace(FIRST[0].block, content=msgspec.structs.replace(FIRST[0].block.content, **changes))
    with pytest.raises(MalformedBytesError):
        BLOCK_CODEC.decode(encode(block))


def test_a_longer_encoding_of_the_same_number_is_malformed() -> None:
    data = encode(FIRST[0].block)
    position = data.index(b"\x00\x01")  # author 0, round 1
    longer = data[: position + 1] + b"\xcc\x01" + data[position + 2 :]
    assert msgspec.msgpack.decode(longer) == msgspec.msgpack.decode(data)
    with pytest.raises(MalformedBytesError, match="not canonical"):
        BLOCK_CODEC.decode(longer)


@pytest.mark.parametrize("cut", [0, 1, 40, -1])
def test_truncated_bytes_are_malformed(cut: int) -> None:
    with pytest.raises(MalformedBytesError):
        BLOCK_CODEC.decode(encode(FIRST[0].block)[:cut])


def test_the_largest_sound_block_fits_its_limit() -> None:
    forge = Forge(200, is_real=False)
    references = tuple(Reference(2**40 - 1, author, bytes(32)) for author in range(200))
    items = (BlockContribution(bytes(32), bytes(4_096)),) * ITEMS_MAX
    attachments = tuple(attachment(str(index), 1 << 30) for index in range(ATTACHMENTS_MAX))
    block = forge.block(0, 2**40, references, items=items, attachments=attachments, time_ms=2**62)
    assert content_fault(block.block.content, forge.committee, forge.genesis) is None
    assert len(encode(block.block)) <= BLOCK_BYTES_MAX
