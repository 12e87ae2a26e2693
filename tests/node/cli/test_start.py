import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli import main
from node.common.files import KEY_FILE_NAME, STORE_FILE_NAME
from node.rules.network_file import network_text, write_network_file
from node.storage.folder import NodeFolder
from node.storage.identity import create_identity
from tests.node.example_network import example_rules

ROOT = Path(__file__).parents[3]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["start", *map(str, arguments)])


@pytest.fixture
def made(tmp_path: Path) -> Path:
    NodeFolder.create(tmp_path / "peer", example_rules())
    return tmp_path / "peer"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "error: Missing option '--data-dir'.\nfix: see .venv/bin/python run_node.py start --help"),
        (
            ["--data-dir", "x", "--peer", "10.0.0.5"],
            "'--peer': '10.0.0.5' is not an address; write HOST:PORT, like 10.0.0.5:7600",
        ),
        (["--data-dir", "x", "--peer", ":7600"], "'--peer': ':7600' is not an address"),
        (["--data-dir", "x", "--peer", "fe80::1:7600"], "'--peer': 'fe80::1:7600' is not an address"),
        (["--data-dir", "x", "--peer", "http://a:7600"], "'--peer': 'http://a:7600' is not an address"),
        (["--data-dir", "x", "--peer", "a:0"], "'--peer': 'a:0': port '0' is not a whole number from 1 to 65535"),
        (["--data-dir", "x", "--peer", "a:65536"], "port '65536' is not a whole number from 1 to 65535"),
        (["--data-dir", "x", "--peer", "a:" + "9" * 5_000], "is not a whole number from 1 to 65535"),
        (["--data-dir", "x", "--peer", "a:٣"], "port '٣' is not a whole number from 1 to 65535"),
        (["--data-dir", "x", "--listen", "a:-1"], "port '-1' is not a whole number from 0 to 65535"),
        (["--data-dir", "x", "--puzzle-share", "0"], "'--puzzle-share': 0.0 is not in the range 0.05<=x<=1.0."),
        (["--data-dir", "x", "--puzzle-share", "nan"], "'--puzzle-share': 'nan' is not a number."),
        (["--data-dir", "x", "--log-level", "loud"], "'--log-level': 'loud' is not one of"),
        (
            ["--data-dir", "x"],
            "error: there is no folder x\nfix: check the path, or make a new peer there: .venv/bin/python run_node.py init x\n",
        ),
        (["--data-dir", "x", "--network", "nowhere.toml"], "error: there is no network file nowhere.toml\nfix: copy it from"),
    ],
)
def test_a_wrong_argument_is_told_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_the_network_file_is_told_before_a_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_text(network_text(example_rules()).replace("offspring = 64", "offspring = 1"))
    result = run("--data-dir", tmp_path / "peer", "--network", path)
    told = f"error: {path}: evolution.offspring is 1; allowed is a whole number from 2 to 65,536\n"
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{told}fix: put that right in the file; of a network that runs already, copy it again")
    assert not (tmp_path / "peer").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_port_in_use_is_told_before_a_folder_is_made(tmp_path: Path, host: str) -> None:
    write_network_file(tmp_path / "network.toml", example_rules())
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"{host}:{held.getsockname()[1]}"
        result = run("--data-dir", tmp_path / "peer", "--network", tmp_path / "network.toml", "--listen", address)
    told = f"error: cannot listen on {address}: the port is in use by another program or peer\nfix: choose another --listen"
    assert result.exit_code == 2
    assert result.stderr.startswith(told)
    assert not (tmp_path / "peer").exists()


def test_a_fault_that_fits_no_such_network_is_told_before_a_folder_is_made(tmp_path: Path) -> None:
    write_network_file(tmp_path / "network.toml", example_rules())
    result = run("--data-dir", tmp_path / "peer", "--network", tmp_path / "network.toml", "--fault", "equivocate")
    assert result.exit_code == 2
    assert "choose another --fault" in result.stderr
    assert not (tmp_path / "peer").exists()


@pytest.mark.slow
def test_other_data_than_the_network_s_leave_no_folder_behind(tmp_path: Path) -> None:
    write_network_file(tmp_path / "network.toml", example_rules())  # its digest is nobody's
    command = [sys.executable, ROOT / "run_node.py", "start", "--data-dir", "peer", "--network", "network.toml"]
    done = subprocess.run(
        [*command, "--listen", "127.0.0.1:0"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert "error: task.data_digest is abababab" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["network.toml"]


def test_another_network_s_folder_is_told(made: Path, tmp_path: Path) -> None:
    write_network_file(tmp_path / "other.toml", example_rules(block_interval_ms=900))
    result = run("--data-dir", made, "--network", tmp_path / "other.toml")
    assert result.exit_code == 2
    assert f"error: the folder {made} belongs to another network: " in result.stderr
    assert "proof_of_work.block_interval_ms: ours 500, theirs 900" in result.stderr


def test_another_key_is_told(made: Path) -> None:
    with NodeFolder.open(made):
        pass
    (made / KEY_FILE_NAME).unlink()
    create_identity(made / KEY_FILE_NAME)
    result = run("--data-dir", made)
    assert result.exit_code == 2
    assert f"error: the folder {made} belongs to another key: " in result.stderr


def test_a_locked_folder_is_told(made: Path) -> None:
    with NodeFolder.open(made):
        result = run("--data-dir", made)
    assert result.exit_code == 2
    assert f"error: {made} is locked by a running peer (pid " in result.stderr


def test_a_key_that_others_can_read_is_told(made: Path) -> None:
    (made / KEY_FILE_NAME).chmod(0o644)
    result = run("--data-dir", made)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"\nfix: chmod 600 {made / KEY_FILE_NAME}\n")


def test_a_corrupt_database_is_told_with_the_way_to_re_sync(made: Path) -> None:
    (made / STORE_FILE_NAME).write_bytes(b"garbage" * 1_000)
    result = run("--data-dir", made)
    assert result.exit_code == 2
    assert (
        f"error: database {made / STORE_FILE_NAME} is corrupt: file is not a database\nfix: stop the node, move"
        in result.stderr
    )
