import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save

from node.cli import main
from node.storage.api_address import write_api_file
from node.storage.folder import NodeFolder
from tests.node.cli.local_api import EXAMPLE_PEER, local_api
from tests.node.example_network import example_rules


def model_of(height: int, final_height: int, depth: int) -> bytes:
    facts = {"height": str(height), "final_height": str(final_height), "finality_depth": str(depth), "task": "digits"}
    return save({"weight": np.arange(1_000, dtype=np.float32)}, facts)


MODEL = model_of(300, 44, 256)


def run(path: Path, data_dir: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["export", str(path), "--data-dir", str(data_dir), *options])


def test_a_running_peer_s_model_is_saved_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with local_api({"/v1/model/file": (200, MODEL, len(MODEL))}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        result = run(path, tmp_path)
    told = "the model at height 300, which is not final yet; final: height 44; the 256 blocks above may still be undone"
    assert (result.exit_code, result.stdout) == (0, f"wrote {path}: {told}\n")
    assert path.read_bytes() == MODEL


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ((44, 44, 256), "the model at height 44, which is final"),
        ((9, 9, 0), "the model at height 9, which is final"),
        ((0, 0, 256), "the first model, untrained: no step has been taken yet"),
        ((0, 0, 0), "the first model, untrained: no step has been taken yet"),
        (
            (12, 0, 256),
            "the model at height 12, which is not final yet; final: nothing yet but the first model: a block is final once 256 "
            "lie on top of it",
        ),
    ],
)
def test_what_is_final_is_told_in_words(tmp_path: Path, facts: tuple[int, int, int], told: str) -> None:
    path, model = tmp_path / "model.safetensors", model_of(*facts)
    with local_api({"/v1/model/file": (200, model, len(model))}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        assert run(path, tmp_path).stdout == f"wrote {path}: {told}\n"


def test_where_nothing_but_the_first_model_is_final_it_is_said_to_be_untrained(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", model_of(0, 0, 256)
    with local_api({"/v1/model/file?final": (200, model, len(model))}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        result = run(path, tmp_path, "--final")
    why = "no other is final before 256 blocks lie on top of it; the newest comes without --final"
    assert result.stdout == f"wrote {path}: the first model, untrained: {why}\n"


def test_the_newest_final_model_is_asked_for_and_told_as_json(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", model_of(44, 44, 256)
    with local_api({"/v1/model/file?final": (200, model, len(model))}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        result = run(path, tmp_path, "--final", "--json")
    facts = {"height": 44, "final_height": 44, "finality_depth": 256, "task": "digits", "is_final": True, "is_trained": True}
    assert json.loads(result.stdout) == {"path": str(path), **facts}


def test_what_is_no_model_is_not_saved(tmp_path: Path) -> None:
    with local_api({"/v1/model/file": (200, b"\x02" + bytes(7) + b"{}", 10)}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        result = run(tmp_path / "model.safetensors", tmp_path)
    assert result.stderr.startswith("error: what came is no model with its origin")
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("answer", [(503, b"the learner did not answer in time\n", 35), (200, MODEL, len(MODEL) + 1)])
def test_a_model_that_does_not_come_whole_is_not_saved(tmp_path: Path, answer: tuple[int, bytes, int]) -> None:
    with local_api({"/v1/model/file": answer}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        result = run(tmp_path / "model.safetensors", tmp_path)
    assert result.exit_code != 0
    assert result.stderr.startswith(f"error: the peer at {api} ")
    assert not (tmp_path / "model.safetensors").exists()


def test_a_file_that_is_there_is_overwritten_only_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("mine")
    with local_api({"/v1/model/file": (200, MODEL, len(MODEL))}) as api:
        write_api_file(tmp_path, api, EXAMPLE_PEER)
        refused = run(path, tmp_path)
        assert (refused.exit_code, refused.stdout, path.read_text()) == (2, "", "mine")
        told = f"error: {path} is there already\nfix: choose another path, or add --force to overwrite it\n"
        assert refused.stderr == told
        assert run(path, tmp_path, "--force").exit_code == 0
    assert path.read_bytes() == MODEL


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path / "model.pt", tmp_path)
    told = f"error: {tmp_path / 'model.pt'} does not end in .safetensors\nfix: write {tmp_path / 'model.safetensors'}\n"
    assert (result.exit_code, result.stderr) == (2, told)


def test_a_stopped_peer_without_a_model_is_told(tmp_path: Path) -> None:
    NodeFolder.create(tmp_path / "peer", example_rules())
    result = run(tmp_path / "model.safetensors", tmp_path / "peer", "--final")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {tmp_path / 'peer' / 'kubrat.db'} holds no model yet: its peer has never run\n")
    result = run(tmp_path / "model.safetensors", tmp_path / "peer")
    assert result.stderr.startswith(f"error: {tmp_path / 'peer' / 'kubrat.db'} holds no model yet: its peer has never run\n")


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
    assert result.stderr.startswith(f"error: {peer / 'kubrat.db'} holds no model yet")
    assert not (tmp_path / "model.safetensors").exists()


def test_the_code_of_a_stopped_peer_s_task_does_not_run_before_somebody_here_has_named_it(tmp_path: Path) -> None:
    rules = example_rules()
    foreign = msgspec.structs.replace(rules, task=msgspec.structs.replace(rules.task, name="os:abort"))
    NodeFolder.create(tmp_path / "peer", foreign)
    path = tmp_path / "model.safetensors"
    refused, named = run(path, tmp_path / "peer"), run(path, tmp_path / "peer", "--trust-task", "os:abort")
    assert refused.stderr.startswith("error: the network's task is 'os:abort', which is not built in")
    assert "add --trust-task os:abort" in refused.stderr
    assert "holds no model yet: its peer has never run" in named.stderr
