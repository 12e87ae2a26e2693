"""A scenario on real processes: it is played, judged as in a simulation, and the stores that it leaves are read."""

import asyncio
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from consensus.encoding import encode
from consensus.total_order.block import BLOCK_CODEC, Reference, sign_block
from consensus.total_order.records import VERTEX_TABLE, vertex_key
from node.common.files import KEY_FILE_NAME, NETWORK_FILE_NAME, STORE_FILE_NAME
from node.lab.store_audit.__main__ import command
from node.lab.testnet.namespaces import reason_against
from node.rules.network_file import read_network_file
from node.rules.network_rules import network_id
from node.storage.identity import load_identity
from node.storage.store import Store
from tests.node.real_peers import run

pytestmark = pytest.mark.processes

SCRIPT = """
name = "chaos"
consensus = "total-order"
learning = "evolution"
peers = 5
duration_s = 16

[total_order]
round_interval_ms = 100

[expect]
calm_s = 7
heights_min = 1
behind_max = 25

[[event]]
at_s = 1
kind = "crash"
peers = [1]

[[event]]
at_s = 2
kind = "pause"
peers = [2]

[[event]]
at_s = 3
kind = "resume"
peers = [2]

[[event]]
at_s = 4
kind = "restart"
peers = [1]

[[event]]
at_s = 5
kind = "partition"
groups = [[0, 1, 2], [3, 4]]

[[event]]
at_s = 8
kind = "heal"

[[event]]
at_s = 9
kind = "join"
peers = [4]
"""

COMMANDS = [
    "killed peer-1",
    "paused peer-2",
    "resumed peer-2",
    "restarted peer-1",
    "parted: peer-0, peer-1, peer-2 / peer-3, peer-4",
    "healed: everybody reaches everybody again",
    "restarted peer-4",
]


@dataclass(frozen=True)
class Played:
    """A scenario that was played to its end."""

    folder: Path
    done: subprocess.CompletedProcess[str]
    document: dict


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    root = tmp_path_factory.mktemp("chaos")
    (root / "script.toml").write_text(SCRIPT)
    folder = root / "testnet"
    done = run("testnet", "--scenario", str(root / "script.toml"), "--json", "--keep", "--data-dir", str(folder))
    return Played(folder, done, json.loads(done.stdout.splitlines()[-1]))


def autopsy(folder: Path) -> Result:
    return CliRunner().invoke(command, [str(folder)])


def test_peers_pass_through_a_crash_a_pause_a_partition_and_a_late_join(played: Played) -> None:
    document = played.document
    assert (played.done.returncode, document["outcome"]) == (0, "Pass"), played.done.stderr
    assert [command["said"] for command in document["commands"]] == COMMANDS
    assert {peer["state"] for peer in document["peers"]} == {"running"}
    assert document["height"] > 1
    assert document["events_seen"] > 500


def test_it_is_told_how_peers_are_kept_apart(played: Played) -> None:
    how = "network namespaces: packets vanish" if reason_against(1) is None else "the peers' own refusal: "
    assert f"partitions are by {how}" in played.done.stderr


def test_the_kept_stores_contradict_nothing_until_one_is_tampered_with(played: Played) -> None:
    before = autopsy(played.folder)
    assert (before.exit_code, before.stderr) == (0, "")
    assert "5 stores" in before.output
    sign_a_second_block(played.folder, author=0, holder=3)
    after = autopsy(played.folder)
    assert after.exit_code == 3
    assert "it does not hold that no honest member signs two blocks for one round" in after.output


def sign_a_second_block(folder: Path, author: int, holder: int) -> None:
    """With the author's own key, in another's store."""
    network = network_id(read_network_file(folder / NETWORK_FILE_NAME))
    identity = load_identity(folder / f"peer-{author}" / KEY_FILE_NAME)
    store = Store.open(folder / f"peer-{holder}" / STORE_FILE_NAME)
    contents = [BLOCK_CODEC.decode(value).content for _, value in store.records(VERTEX_TABLE)]
    content = next(one for one in contents if one.author == author)
    digest, block = sign_block(network, msgspec.structs.replace(content, time_ms=content.time_ms + 1), identity.sign)
    row = (VERTEX_TABLE, vertex_key(Reference(content.round, author, digest)), encode(block))
    asyncio.run(store.write([row]))
    store.close()
