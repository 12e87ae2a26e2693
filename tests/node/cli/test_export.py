from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.api_address import write_api_file
from node.cli import main
from node.folder import NodeFolder
from tests.node.cli.local_api import EXAMPLE_PEER, local_api
from tests.node.example_network import example_rules

MODEL = bytes(range(256)) * 50


def run(path: Path, data_dir: Path) -> Result:
    return CliRunner().invoke(main, ["export", str(path), "--data-dir", str(data_dir)])


def test_a_running_peer_s_model_is_saved_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with local_api({"/v1/model/file": (200, MODEL, len(MODEL))}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        result = run(path, tmp_path)
    assert (result.exit_code, result.stdout) == (0, f"wrote {path}\n")
    assert path.read_bytes() == MODEL


@pytest.mark.parametrize("answer", [(503, b"the learner did not answer in time\n", 35), (200, MODEL, len(MODEL) + 1)])
def test_a_model_that_does_not_come_whole_is_not_saved(tmp_path: Path, answer: tuple[int, bytes, int]) -> None:
    with local_api({"/v1/model/file": answer}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        result = run(tmp_path / "model.safetensors", tmp_path)
    assert result.exit_code != 0
    assert result.stderr.startswith(f"error: the peer at {api} ")
    assert not (tmp_path / "model.safetensors").exists()


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path / "model.pt", tmp_path)
    told = f"error: {tmp_path / 'model.pt'} does not end in .safetensors\nfix: write {tmp_path / 'model.safetensors'}\n"
    assert (result.exit_code, result.stderr) == (2, told)


def test_a_stopped_peer_without_a_model_is_told(tmp_path: Path) -> None:
    NodeFolder.create(tmp_path / "peer", example_rules())
    result = run(tmp_path / "model.safetensors", tmp_path / "peer")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {tmp_path / 'peer'} holds no final model yet\nfix: start the peer")


def test_a_folder_that_is_no_peer_s_is_told(tmp_path: Path) -> None:
    result = run(tmp_path / "model.safetensors", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {tmp_path} is not a node's folder")


def test_the_model_of_whoever_has_a_killed_peer_s_port_is_not_taken(tmp_path: Path) -> None:
    peer = tmp_path / "peer"
    NodeFolder.create(peer, example_rules())
    with local_api({"/v1/model/file": (200, MODEL, len(MODEL))}) as api:
        write_api_file(peer, api, "cd" * 32)
        result = run(tmp_path / "model.safetensors", peer)
    assert result.stderr.startswith(f"error: {peer} holds no final model yet\n")
    assert not (tmp_path / "model.safetensors").exists()
