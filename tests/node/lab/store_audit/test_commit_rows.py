"""Stores of a total order: nothing is found in those of honest members, and whatever is tampered with is."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from consensus.encoding import encode
from consensus.total_order.block import BLOCK_CODEC, Content, Reference, sign_block
from consensus.total_order.linearizer import COMMIT_CODEC
from consensus.total_order.records import COMMIT_TABLE, EVIDENCE_TABLE, VERTEX_TABLE, vertex_key
from consensus.types import Instant
from learning.state import ModelState, decode_kept_state, encode_kept_state, state_digest
from node.lab.simulation.population import START
from node.storage.tables import STATE_KEY, STATE_TABLE, checkpoint_key
from tests.node.lab.store_audit.folders import ORDER, Folders, filled, folders_of, simulation_of

pytestmark = pytest.mark.xdist_group("autopsy of members")  # they share what one of them has run

LONG = ORDER.replace("duration_s = 8", "duration_s = 26")
"""Long enough for checkpoints."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return filled(LONG, tmp_path_factory.mktemp("order"))


def own_content(folders: Folders, number: int) -> Content:
    """Of a block in the middle of a member's own ones."""
    contents = [BLOCK_CODEC.decode(value).content for value in folders.rows(number, VERTEX_TABLE).values()]
    own = [content for content in contents if content.author == number]
    return own[len(own) // 2]


def row_of(folders: Folders, content: Content, signer: int) -> tuple[str, bytes, bytes]:
    digest, block = sign_block(folders.network_id, content, folders.signers[signer])
    return VERTEX_TABLE, vertex_key(Reference(content.round, content.author, digest)), encode(block)


def test_nothing_is_found_where_all_are_honest(folders: Folders) -> None:
    autopsy = folders.autopsy()
    autopsy.read_to_the_end(Instant(START))
    heights = {decode_kept_state(folders.rows(number, STATE_TABLE)[STATE_KEY]).height for number in range(4)}
    assert autopsy.checkers.finding is None
    assert set(autopsy.checkers.progress.heights.values()) == heights
    assert min(heights) > 32


def test_another_commit_at_one_index_is_found(folders: Folders) -> None:
    key, value = list(folders.rows(2, COMMIT_TABLE).items())[20]
    record = COMMIT_CODEC.decode(value)
    folders.write(2, (COMMIT_TABLE, key, encode(msgspec.structs.replace(record, time_ms=record.time_ms + 1))))
    assert folders.finding() == (
        "honest members vouch for one order and for one state after each commit",
        "two digests of commit 21",
    )


def test_a_second_block_of_one_member_and_round_is_found_in_anothers_store(folders: Folders) -> None:
    content = own_content(folders, 1)
    folders.write(3, row_of(folders, msgspec.structs.replace(content, time_ms=content.time_ms + 1), signer=1))
    assert folders.finding() == (
        "no honest member signs two blocks for one round",
        f"two blocks of member 1 for round {content.round}",
    )


def test_two_blocks_of_a_member_that_was_told_to_misbehave_are_no_finding(folders: Folders) -> None:
    content = own_content(folders, 1)
    folders.write(3, row_of(folders, msgspec.structs.replace(content, time_ms=content.time_ms + 1), signer=1))
    assert folders.finding(faulty=(1,)) is None


def test_a_block_that_somebody_else_has_signed_is_found(folders: Folders) -> None:
    content = own_content(folders, 1)
    folders.write(3, row_of(folders, msgspec.structs.replace(content, round=10**6), signer=2))
    found = folders.finding()
    assert found is not None
    assert found[0] == "every recorded block is signed by its author"


def test_a_block_that_its_author_never_recorded_is_found(folders: Folders) -> None:
    content = own_content(folders, 1)
    folders.write(3, row_of(folders, msgspec.structs.replace(content, round=10**6), signer=1))
    assert folders.finding() == (
        "what is signed is recorded before it is sent",
        "sent its block of round 1000000 before it was durable",
    )


def test_a_guard_file_below_what_others_hold_is_found(folders: Folders) -> None:
    folders.guard(1, 3)
    found = folders.finding()
    assert found is not None
    assert found[0] == "what is signed is recorded before it is sent"
    assert "with its signed round at 3" in found[1]


def test_a_wrong_state_digest_is_found(folders: Folders) -> None:
    kept = decode_kept_state(folders.rows(2, STATE_TABLE)[STATE_KEY])
    wrong = replace(kept, state_digest=bytes(32))
    folders.write(2, (STATE_TABLE, STATE_KEY, encode_kept_state(wrong)))
    found = folders.finding()
    assert found is not None
    assert found[0] == "a kept state's digest follows from its parameters"


def test_another_model_with_its_own_right_digest_is_found(folders: Folders) -> None:
    key = checkpoint_key(1)
    kept = decode_kept_state(folders.rows(2, STATE_TABLE)[key])
    parameters = np.frombuffer(kept.parameters, dtype="<f4").astype(np.float32) + np.float32(1)
    digest = state_digest(ModelState(parameters, kept.height))
    other = replace(kept, parameters=parameters.tobytes(), state_digest=digest)
    folders.write(2, (STATE_TABLE, key, encode_kept_state(other)))
    assert folders.finding() == (
        "honest members vouch for one order and for one state after each commit",
        f"two digests of state {kept.commit}",
    )


def test_a_kept_state_other_than_the_checkpoint_of_its_commit_is_found(folders: Folders) -> None:
    """Its memory is in no digest but the checkpoint's."""
    key = checkpoint_key(1)
    kept = decode_kept_state(folders.rows(2, STATE_TABLE)[key])
    folders.write(2, (STATE_TABLE, STATE_KEY, encode_kept_state(replace(kept, memory=kept.memory + b"more"))))
    assert folders.finding() == (
        "honest members vouch for one order and for one state after each commit",
        f"two digests of state {kept.commit}",
    )


def test_lost_commits_are_found(folders: Folders) -> None:
    folders.write(2, *((COMMIT_TABLE, key, None) for key in folders.rows(2, COMMIT_TABLE)))
    found = folders.finding()
    assert found is not None
    assert found[0] == "a node goes on from its own store"


def test_a_database_that_is_not_there_is_told(folders: Folders) -> None:
    (folders.path(2) / "kubrat.db").unlink()
    autopsy = folders.autopsy()
    autopsy.read_to_the_end(Instant(START))
    assert autopsy.missing == (folders.ids[2],)


def test_evidence_against_an_honest_member_is_found(folders: Folders) -> None:
    folders.write(0, (EVIDENCE_TABLE, folders.ids[2], b"two blocks"))
    found = folders.finding()
    assert found is not None
    assert found[0] == "no honest peer is accused, refused, contested or stopped"


def test_a_commit_whose_block_is_lost_is_found(folders: Folders) -> None:
    key, value = list(folders.rows(2, COMMIT_TABLE).items())[20]
    lost = vertex_key(COMMIT_CODEC.decode(value).references[0])
    folders.write(2, (VERTEX_TABLE, lost, None))
    found = folders.finding()
    assert found == (
        "a store holds what was written",
        f"{folders.ids[2].hex()[:8]}: commit {int.from_bytes(key, 'big')} names a block that is not recorded",
    )


def test_a_damaged_row_is_found(folders: Folders) -> None:
    key = list(folders.rows(2, COMMIT_TABLE))[20]
    folders.damage(2, COMMIT_TABLE, key, b"other bytes")
    assert folders.finding() == (
        "a store holds what was written",
        f"{folders.ids[2].hex()[:8]}: the checksum of commit {key.hex()[:16]} is wrong",
    )


def test_a_table_that_grows_beyond_its_bound_is_found(folders: Folders) -> None:
    for number in range(5):
        key = checkpoint_key(1)
        folders.write(2, (STATE_TABLE, b"more-%d" % number, folders.rows(2, STATE_TABLE)[key]))
    found = folders.finding()
    assert found is not None
    assert found[0] == "every queue, table and store lies within its bound"


def test_stores_read_while_their_members_crash_join_and_lose_disks_show_nothing(tmp_path: Path) -> None:
    """Half of them are always read a second before the others, as real processes go on meanwhile."""
    story = """
[[event]]
at_s = 3
kind = "back-up"
peers = [1]
[[event]]
at_s = 5
kind = "crash"
peers = [2]
[[event]]
at_s = 8
kind = "restart"
peers = [2]
[[event]]
at_s = 9
kind = "restore-old-disk"
peers = [1]
[[event]]
at_s = 11
kind = "restart"
peers = [1]
[[event]]
at_s = 12
kind = "join"
peers = [3]
"""
    simulation = simulation_of(ORDER.replace("duration_s = 8", "duration_s = 20") + story)
    folders = folders_of(simulation, tmp_path)
    autopsy = folders.autopsy(is_followed=True)

    def read(passed_ms: int) -> None:
        now, early = Instant(START + passed_ms), (0, 1)
        if passed_ms // 1000 % 2:
            folders.take_over(simulation, early)
            for number in early:  # member 1 loses its disk in this moment, in second 9
                autopsy.read_one(folders.ids[number], now)
        else:
            folders.take_over(simulation, (2, 3))
            autopsy.read(now)

    simulation.run(read)
    folders.take_over(simulation, range(4))
    autopsy.read_to_the_end(Instant(START))
    assert autopsy.checkers.finding is None
    assert min(autopsy.checkers.progress.heights.values()) > 10
