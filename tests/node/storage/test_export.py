import asyncio
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from consensus.steps import genesis_step
from learning.evolution.rules import Strategy
from learning.learner import ModelExported, StateKept
from learning.state import ModelState, encode_kept_state, genesis_state, parameter_bytes, state_digest
from learning.task import Layout
from learning.tasks.loading import load_task
from node.rules.network_file import new_rules
from node.rules.network_rules import NetworkRules, TaskSection, network_id
from node.runtime.stopped_model import recomputed_model
from node.storage.export import kept_final_model, model_bytes, store_layout
from node.storage.folder import NodeFolder
from node.storage.tables import STATE_KEY, STATE_TABLE

DIGITS = load_task("digits")
STEP = b"\x05" * 32


def digits_rules() -> NetworkRules:
    parameters = sum(block.size for block in DIGITS.layout)
    return new_rules("x", bytes(32), TaskSection("digits", DIGITS.data_digest.hex(), parameters), Strategy.PLUS)


def tensors_of(layout: Layout, parameters: np.ndarray) -> dict[str, np.ndarray]:
    ends = np.cumsum([block.size for block in layout])
    return {
        block.name: parameters[end - block.size : end].reshape(block.shape) for block, end in zip(layout, ends, strict=True)
    }


def assert_file_holds(path: Path, rules: NetworkRules, state: ModelState, final_height: int, step: bytes = STEP) -> None:
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {
            "network_id": network_id(rules).hex(),
            "step_id": step.hex(),
            "state_digest": state_digest(state).hex(),
            "height": str(state.height),
            "final_height": str(final_height),
            "finality_depth": "256",
            "task": "digits",
        }
        expected = tensors_of(DIGITS.layout, state.parameters)
        assert set(file.keys()) == set(expected)
        for name, tensor in expected.items():
            np.testing.assert_array_equal(file.get_tensor(name), tensor)


def test_a_model_s_bytes_hold_its_tensors_and_where_it_comes_from(tmp_path: Path) -> None:
    rules = digits_rules()
    state = ModelState(genesis_state(network_id(rules), DIGITS.layout).parameters, 40)
    content = model_bytes(
        rules, DIGITS.layout, ModelExported(STEP, 40, state_digest(state), parameter_bytes(state)), 7, tmp_path
    )
    (tmp_path / "model.safetensors").write_bytes(content)
    assert_file_holds(tmp_path / "model.safetensors", rules, state, 7)


@pytest.mark.parametrize("height", [0, 123])
def test_a_stopped_peer_s_newest_final_model_is_exported(tmp_path: Path, height: int) -> None:
    rules = digits_rules()
    state = ModelState(genesis_state(network_id(rules), DIGITS.layout).parameters, height)
    kept = encode_kept_state(StateKept(STEP, height, parameter_bytes(state), state_digest=state_digest(state)))
    NodeFolder.create(tmp_path / "peer", rules)
    with NodeFolder.open(tmp_path / "peer") as folder:
        store_layout(folder.store, DIGITS.layout)
        asyncio.run(folder.store.write([(STATE_TABLE, STATE_KEY, kept)]))
        (tmp_path / "model.safetensors").write_bytes(kept_final_model(folder) or b"")
    assert_file_holds(tmp_path / "model.safetensors", rules, state, height)


def test_before_anything_is_kept_the_newest_final_model_is_the_first_one_also_of_a_stopped_peer(tmp_path: Path) -> None:
    rules = digits_rules()
    NodeFolder.create(tmp_path / "peer", rules)
    with NodeFolder.open(tmp_path / "peer") as folder:
        assert kept_final_model(folder) is None
        store_layout(folder.store, DIGITS.layout)
        (tmp_path / "model.safetensors").write_bytes(recomputed_model(folder, "", is_final=True))
    assert_file_holds(
        tmp_path / "model.safetensors",
        rules,
        genesis_state(network_id(rules), DIGITS.layout),
        0,
        genesis_step(network_id(rules)),
    )
