"""The agreed state and its digest. The bytes that members vouch for: one state, one encoding, one digest."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.evolution.mutation import kept_interval
from learning.learner import StateKept
from learning.state import (
    CHECKPOINT_INTERVAL,
    ModelState,
    StoredStateError,
    checkpoint_digest,
    decode_kept_state,
    encode_kept_state,
    genesis_state,
    parameter_bytes,
    state_digest,
    stored_state,
)
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


digests = st.binary(min_size=32, max_size=32).filter(any)


@given(
    step=digests,
    height=st.integers(0, 2**63),
    parameters=st.binary(max_size=64),
    commit=st.integers(0, 2**63),
    commit_step=digests | st.just(b""),
    state_digest=digests,
    memory=st.binary(max_size=64),
)
def test_a_kept_state_comes_back(  # noqa: PLR0917 - one argument a field
    step: bytes, height: int, parameters: bytes, commit: int, commit_step: bytes, state_digest: bytes, memory: bytes
) -> None:
    state = StateKept(step, height, parameters, commit, commit_step, state_digest, memory)
    assert decode_kept_state(encode_kept_state(state)) == state


def test_the_digest_covers_every_field() -> None:
    state = StateKept(b"s" * 32, 32, b"abcd", 400, b"c" * 32)
    others = [
        StateKept(b"t" * 32, 32, b"abcd", 400, b"c" * 32),
        StateKept(b"s" * 32, 64, b"abcd", 400, b"c" * 32),
        StateKept(b"s" * 32, 32, b"abce", 400, b"c" * 32),
        StateKept(b"s" * 32, 32, b"abcd", 401, b"c" * 32),
        StateKept(b"s" * 32, 32, b"abcd", 400, b"d" * 32),
        StateKept(b"s" * 32, 32, b"abcd", 400, b"c" * 32, b"d" * 32),
        StateKept(b"s" * 32, 32, b"abcd", 400, b"c" * 32, memory=b"e"),
        StateKept(b"s" * 32, 32, b"abc", 400, b"c" * 32, memory=b"d"),
    ]
    assert len({checkpoint_digest(encode_kept_state(item)) for item in [state, *others]}) == 9


@given(parameters=st.integers(min_value=1, max_value=2**31))
def test_every_checkpoint_is_a_state_that_each_member_keeps(parameters: int) -> None:
    assert CHECKPOINT_INTERVAL % kept_interval((ParameterBlock("w", (parameters,), 1),)) == 0
