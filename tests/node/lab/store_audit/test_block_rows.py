"""Stores of proof of work: nothing is found in those of honest peers, and whatever is tampered with is."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from consensus.encoding import encode
from consensus.proof_of_work.header import BLOCK_CODEC, Block, Draft, body_digest, draft_of, header_id, sign_header
from consensus.proof_of_work.records import BLOCK_TABLE, FINAL_KEY, FINAL_TABLE, VERDICT_TABLE, block_key
from consensus.types import Height, Instant, StepId
from learning.state import decode_kept_state, encode_kept_state
from node.lab.simulation.population import START
from node.storage.tables import STATE_KEY, STATE_TABLE, Row
from tests.node.lab.store_audit.folders import WORK, Folders, filled

pytestmark = pytest.mark.xdist_group("autopsy of leaders")  # they share what one of them has run

CRASHED = (2, 3, 4, 5)
"""At the very start: they have recorded nothing, and nobody asks for them."""

HEIGHT = 10


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return filled(WORK, tmp_path_factory.mktemp("work"))


def final_block(folders: Folders, height: int = HEIGHT) -> Block:
    """The one that all later ones stand on."""
    blocks = {key[8:]: BLOCK_CODEC.decode(value) for key, value in folders.rows(0, BLOCK_TABLE).items()}
    block = blocks[folders.rows(0, FINAL_TABLE)[FINAL_KEY][8:]]
    while block.header.height > height:
        block = blocks[block.header.parent]
    return block


def leader_of(folders: Folders, block: Block) -> int:
    return folders.ids.index(block.header.leader)


def signed_again(folders: Folders, block: Block, draft: Draft) -> Block:
    """By its leader; any nonce solves its puzzle."""
    sign = folders.signers[leader_of(folders, block)]
    return Block(sign_header(folders.network_id, draft, 7, sign), block.body)


def row_of(folders: Folders, block: Block) -> Row:
    step = header_id(folders.network_id, block.header)
    return BLOCK_TABLE, block_key(Height(block.header.height), step), encode(block)


def rival(folders: Folders, height: int = HEIGHT) -> Block:
    """Another block by the same leader on the same parent."""
    block = final_block(folders, height)
    draft = draft_of(block.header)
    return signed_again(folders, block, replace(draft, time_ms=draft.time_ms + 1))


def test_nothing_is_found_where_all_are_honest(folders: Folders) -> None:
    autopsy = folders.autopsy(CRASHED, is_followed=True)
    autopsy.read_to_the_end(Instant(START))
    assert autopsy.checkers.finding is None
    assert len(folders.rows(0, BLOCK_TABLE)) > 2 * HEIGHT
    assert autopsy.events_seen > 8 * HEIGHT


def test_two_final_steps_at_one_height_are_found(folders: Folders) -> None:
    table, key, value = row_of(folders, rival(folders))
    folders.write(1, (table, key, value), (FINAL_TABLE, FINAL_KEY, key))
    assert folders.finding(CRASHED) == ("there is one chain of final steps", f"two final steps at height {HEIGHT}")


def test_two_blocks_on_one_parent_in_one_life_are_found_where_lives_are_known(folders: Folders) -> None:
    """Of the peer that is read first: what others have recorded before it may come from an earlier run of its leader."""
    led = next(height for height in range(HEIGHT, 0, -1) if leader_of(folders, final_block(folders, height)) == 0)
    block = rival(folders, led)
    folders.write(0, row_of(folders, block))
    autopsy = folders.autopsy(CRASHED, is_followed=True)
    autopsy.read_to_the_end(Instant(START))
    assert autopsy.checkers.finding is not None
    assert autopsy.checkers.finding.checker == "no honest peer leads two blocks on one parent in one incarnation"
    assert folders.finding(CRASHED) is None


def test_a_block_that_its_leader_never_recorded_is_found(folders: Folders) -> None:
    block = rival(folders)
    folders.write(1 - leader_of(folders, block), row_of(folders, block))
    found = folders.finding(CRASHED)
    assert found is not None
    assert found[0] == "what is signed is recorded before it is sent"


def test_a_target_that_does_not_follow_from_the_ancestors_is_found(folders: Folders) -> None:
    block = final_block(folders)
    draft = draft_of(block.header)
    folders.write(0, row_of(folders, signed_again(folders, block, replace(draft, target=draft.target // 2))))
    found = folders.finding(CRASHED)
    assert found is not None
    assert found[0] == "targets, times and work follow from the ancestors"


def test_a_block_that_its_leader_did_not_sign_is_found(folders: Folders) -> None:
    block = final_block(folders)
    header = msgspec.structs.replace(block.header, signature=bytes(64))
    folders.write(0, row_of(folders, Block(header, block.body)))
    found = folders.finding(CRASHED)
    assert found is not None
    assert found[1].endswith(f"(height {HEIGHT}) is not signed by its leader")


def test_a_contribution_that_its_author_did_not_sign_is_found(folders: Folders) -> None:
    """In a block that its leader has signed."""
    block = next(found for height in range(HEIGHT, 1, -1) if (found := final_block(folders, height)).body.contributions)
    forged = msgspec.structs.replace(block.body.contributions[0], signature=bytes(64))
    body = msgspec.structs.replace(block.body, contributions=(forged,))
    draft = replace(draft_of(block.header), body=body_digest(folders.network_id, body))
    folders.write(0, row_of(folders, Block(signed_again(folders, block, draft).header, body)))
    found = folders.finding(CRASHED)
    assert found is not None
    assert "which its author has not signed" in found[1]


def test_another_body_than_the_header_names_is_found(folders: Folders) -> None:
    block = final_block(folders)
    body = msgspec.structs.replace(block.body, state_digest=bytes(32))
    folders.write(0, row_of(folders, Block(block.header, body)))
    found = folders.finding(CRASHED)
    assert found is not None
    assert found[1].endswith("has another body than its header names")


def test_a_kept_state_other_than_the_blocks_leader_has_committed_to_is_found(folders: Folders) -> None:
    kept = decode_kept_state(folders.rows(0, STATE_TABLE)[STATE_KEY])
    folders.write(0, (STATE_TABLE, STATE_KEY, encode_kept_state(replace(kept, state_digest=bytes(32)))))
    found = folders.finding(CRASHED)
    assert found is not None
    assert found[0] == "a kept state's digest follows from its parameters"


def test_an_honest_block_that_an_honest_peer_found_invalid_is_found(folders: Folders) -> None:
    step = StepId(header_id(folders.network_id, final_block(folders).header))
    folders.write(1, (VERDICT_TABLE, step, b"invalid"))
    assert folders.finding(CRASHED) == (
        "no honest peer is accused, refused, contested or stopped",
        "a step by honest peers alone is invalid (by its verdict)",
    )


GOES_ON = "a node goes on from its own store"


def not_reopened(folders: Folders, *rows: Row) -> str:
    """Why peer 1's own node refuses its store after this change."""
    folders.write(1, *rows)
    found = folders.finding(CRASHED)
    assert found is not None
    assert found[0] == GOES_ON
    return found[1].removeprefix(f"{folders.ids[1].hex()[:8]}: ")


def test_a_lost_block_of_the_final_chain_is_found(folders: Folders) -> None:
    lost = next(found for height in range(2, 9) if leader_of(folders, found := final_block(folders, height)) != 1)
    table, key, _ = row_of(folders, lost)
    assert not_reopened(folders, (table, key, None)).endswith(f"its parent {key[8:].hex()} is not recorded")


def test_a_final_block_under_another_height_is_found(folders: Folders) -> None:
    step = folders.rows(1, FINAL_TABLE)[FINAL_KEY][8:]
    row = (FINAL_TABLE, FINAL_KEY, (9_999).to_bytes(8, "big") + step)
    assert not_reopened(folders, row) == f"the final block {step.hex()} (height 9999) is not recorded"


def test_a_final_chain_without_verdicts_is_found(folders: Folders) -> None:
    rows = [(VERDICT_TABLE, key, None) for key in folders.rows(1, VERDICT_TABLE)]
    assert not_reopened(folders, *rows).endswith("is final, but was not found good")


def test_a_kept_state_of_a_step_that_no_block_has_is_found(folders: Folders) -> None:
    kept = replace(decode_kept_state(folders.rows(1, STATE_TABLE)[STATE_KEY]), step=bytes([7]) * 32)
    said = f"the kept state is of step {kept.step.hex()}, which is not final by the records"
    assert not_reopened(folders, (STATE_TABLE, STATE_KEY, encode_kept_state(kept))) == said


def test_a_puzzle_that_is_not_solved_is_found(tmp_path: Path) -> None:
    """As those of a simulation, which are sampled; here nearly no nonce will do."""
    folders = filled(WORK.replace("start_attempts = 1", "start_attempts = 1000").replace("= 60", "= 10"), tmp_path)
    found = folders.finding(CRASHED)
    assert found is not None
    assert found[1].endswith("has no solved puzzle")
