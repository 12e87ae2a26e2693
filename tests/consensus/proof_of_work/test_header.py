from dataclasses import fields, replace

import pytest

from consensus.encoding import Domain, MalformedBytesError, digest_of, encode
from consensus.proof_of_work.header import (
    BLOCK_CODEC,
    CLAIM_BYTES_MAX,
    Block,
    Body,
    Draft,
    draft_of,
    header_id,
    is_signed_by_leader,
    puzzle_prefix,
    step_of,
)
from consensus.steps import genesis_step
from consensus.types import NetworkId
from tests.consensus.proof_of_work.forge import NETWORK, Forge, person, resigned

FORGE = Forge()
ALICE = person("alice")
FORGED = FORGE.child(FORGE.genesis, ALICE)
HEADER = FORGED.block.header


def test_a_block_comes_back_from_its_bytes() -> None:
    assert BLOCK_CODEC.decode(encode(FORGED.block)) == FORGED.block


def test_the_id_covers_the_prefix_and_the_nonce() -> None:
    content = puzzle_prefix(NETWORK, draft_of(HEADER)).removeprefix(NETWORK)
    assert header_id(NETWORK, HEADER) == digest_of(Domain.HEADER, NETWORK, content + HEADER.nonce)


def test_every_field_changes_the_prefix() -> None:
    draft = draft_of(HEADER)
    other = Draft(b"p" * 32, 9, 9, b"l" * 32, 9, b"b" * 32)
    changed = [puzzle_prefix(NETWORK, replace(draft, **{field.name: getattr(other, field.name)})) for field in fields(draft)]
    changed.append(puzzle_prefix(NetworkId(b"m" * 32), draft))
    assert len({puzzle_prefix(NETWORK, draft), *changed}) == len(fields(draft)) + 2


def test_the_signature_is_the_leaders_and_outside_the_id() -> None:
    forged = resigned(FORGED.block, bytes(64)).header
    assert header_id(NETWORK, forged) == FORGED.id
    assert (is_signed_by_leader(FORGED.id, HEADER), is_signed_by_leader(FORGED.id, forged)) == (True, False)


def test_each_network_has_its_own_genesis() -> None:
    assert genesis_step(NETWORK) != genesis_step(NetworkId(b"m" * 32))


def test_a_block_is_a_step() -> None:
    step = step_of(FORGED.id, FORGED.block)
    body = FORGED.block.body
    assert (step.id, step.parent, step.height, step.leader) == (FORGED.id, FORGE.genesis.id, 1, ALICE.id)
    assert (step.contributions, step.claim, step.state_digest) == (body.contributions, body.claim, body.state_digest)


@pytest.mark.parametrize(
    "body",
    [
        Body((), bytes(CLAIM_BYTES_MAX + 1), b"d" * 32),
        Body((), b"", b"d" * 33),
        Body(("contribution",), b"", b"d" * 32),
    ],
)
def test_a_body_out_of_bounds_is_malformed(body: Body) -> None:
    with pytest.raises(MalformedBytesError):
        BLOCK_CODEC.decode(encode(Block(HEADER, body)))
