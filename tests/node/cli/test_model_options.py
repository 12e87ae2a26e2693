"""What `init` makes of weights, patterns and adapters, with a real task and real files."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

from learning.models.rules import ModelRules
from learning.models.weights_file import weights_digest
from node.cli import main
from node.rules.network_file import read_network_file

LAYERS = {"0.weight": (32, 64), "0.bias": (32,), "2.weight": (10, 32), "2.bias": (10,)}
"""Of digits-mlp."""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, arguments), "--task", "digits-mlp"])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "given.safetensors"
    path.parent.mkdir()
    generator = np.random.default_rng(1)
    save_file({name: generator.normal(size=shape).astype(np.float32) for name, shape in LAYERS.items()}, path)
    return path


def test_a_network_of_given_weights_and_adapters_names_them_and_its_folder_finds_them(tmp_path: Path, weights: Path) -> None:
    chosen = ("--start-weights", weights, "--adapter", "0", "--trainable", "2.bias", "--adapter-rank", "4")
    result = run(tmp_path / "peer", *chosen)
    assert result.exit_code == 0, result.output
    rules = read_network_file(tmp_path / "peer" / "network.toml")
    assert rules.model == ModelRules("given.safetensors", weights_digest(weights), ("2.bias",), ("0",), 4, 16)
    assert rules.task.parameters == 4 * (64 + 32) + 10
    assert (tmp_path / "peer" / "given.safetensors").resolve() == weights.resolve()


def test_the_task_s_own_model_has_the_id_that_it_had_before_the_section(tmp_path: Path) -> None:
    assert run(tmp_path / "peer").exit_code == 0
    path = tmp_path / "peer" / "network.toml"
    rules = read_network_file(path)
    text = path.read_text()
    before, _, after = text.partition("[model]\n")
    path.write_text(before + after[after.index("\n[") + 1 :])
    assert "[model]" not in path.read_text()
    assert read_network_file(path) == rules
    assert rules.task.data_digest in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--trainable", "3.*"), "task 'digits-mlp': model.trainable names '3.*', which meets no tensor"),
        (("--adapter", "1"), "task 'digits-mlp': model.adapters names '1', which meets 1 (Tanh), which take no adapter"),
        (("--adapter-rank", "4"), "--adapter-rank is of no use without --adapter"),
        (("--adapter", "0", "--adapter-rank", "0"), "0 is not in the range 1<=x<=256"),
        (("--start-weights", "weights.pt"), "--start-weights: weights.pt does not end in .safetensors"),
        (("--start-weights", "absent.safetensors"), "--start-weights: there is no file absent.safetensors"),
        (("--trainable", "a b"), "model.trainable"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_made(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run(tmp_path / "peer", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "peer").exists()


def test_weights_of_another_model_are_refused_by_name(tmp_path: Path, weights: Path) -> None:
    save_file({"0.weight": np.zeros((3, 64), np.float32)}, weights)
    result = run(tmp_path / "peer", "--start-weights", weights)
    assert result.exit_code == 2
    assert "given.safetensors does not fit the model: it has no 0.bias; it has no 2.weight" in result.stderr
