"""The agreed state and its digest."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from learning.state import ModelState, StoredStateError, genesis_state, parameter_bytes, state_digest, stored_state
from learning.task import ParameterBlock

LAYOUT = (ParameterBlock("weight", (3, 2), 2), ParameterBlock("bias", (3,), 0))
VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "state.json"


def test_the_digest_covers_tag_height_and_parameters() -> None:
    state = ModelState(np.array([1.0, -0.0], dtype=np.float32), 7)
    content = b"\x0ekubrat/state/1" + (7).to_bytes(8, "little") + bytes.fromhex("0000803f00000080")
    assert state_digest(state) == hashlib.blake2b(content, digest_size=32).digest()


def test_the_same_parameters_at_another_height_are_another_state() -> None:
    parameters = np.zeros(4, dtype=np.float32)
    assert state_digest(ModelState(parameters, 1)) != state_digest(ModelState(parameters, 2))


def test_a_state_cannot_be_changed() -> None:
    state = genesis_state(bytes(32), LAYOUT)
    with pytest.raises(ValueError, match="read-only"):
        state.parameters[0] = 1


def test_the_first_states_are_those_of_the_first_release() -> None:
    digests = {name: state_digest(genesis_state(name.encode(), LAYOUT)).hex() for name in ("one network", "another")}
    assert digests == json.loads(VECTORS.read_text())


def test_a_stored_state_comes_back() -> None:
    state = genesis_state(bytes(32), LAYOUT)
    assert state_digest(stored_state(parameter_bytes(state), 0, LAYOUT)) == state_digest(state)


def test_a_stored_state_of_another_model_is_refused() -> None:
    with pytest.raises(StoredStateError, match="40 bytes of parameters, the task's model 36"):
        stored_state(bytes(40), 3, LAYOUT)
