"""The state that all peers agree on: the flat parameters and the height, and the digest that every step commits to.

Kept, it is bytes with a digest that members of a total order vouch for: the same at every one of them.

Sections 3 and 6 of docs/protocol.md.
"""

import hashlib
import struct
from dataclasses import dataclass

import numpy as np

from learning.exact import first_weights, stream_key
from learning.learner import StateKept
from learning.task import Float32Array, Layout, TaskError

STATE_DIGEST_BYTES = 32

_DIGEST_TAG = b"kubrat/state/1"
"""Holds the version: another content of the state is another tag."""


class StoredStateError(TaskError):
    """A stored state does not fit the task's layout."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelState:
    """A model at a height. `parameters`: float32, shape (parameters,), read-only."""

    parameters: Float32Array
    height: int
    """Steps since genesis; the step size is a function of it."""

    def __post_init__(self) -> None:
        assert self.parameters.dtype == np.float32, f"parameters of type {self.parameters.dtype}"
        assert self.parameters.ndim == 1, f"parameters of shape {self.parameters.shape}"
        assert 0 <= self.height < 2**63, f"height {self.height}"
        self.parameters.setflags(write=False)


def state_digest(state: ModelState) -> bytes:
    """BLAKE2b-256 over the length-prefixed tag (with the version), the height (u64) and the parameters, little-endian."""
    hasher = hashlib.blake2b(digest_size=STATE_DIGEST_BYTES)
    hasher.update(bytes([len(_DIGEST_TAG)]) + _DIGEST_TAG)
    hasher.update(state.height.to_bytes(8, "little"))
    hasher.update(np.ascontiguousarray(state.parameters, dtype="<f4").data)
    return hasher.digest()


def genesis_state(network_id: bytes, layout: Layout) -> ModelState:
    """The model that a network starts from: height 0, the layout's first weights from the network's own stream."""
    return ModelState(first_weights(stream_key(b"kubrat/genesis/1", network_id), layout), 0)


def parameter_bytes(state: ModelState) -> bytes:
    """The parameters as stored, sent and exported: float32, little-endian."""
    return state.parameters.astype("<f4", copy=False).tobytes()


def stored_state(parameters: bytes, height: int, layout: Layout) -> ModelState:
    """The state that `parameter_bytes` wrote. Raises StoredStateError when the size is not the layout's."""
    expected = 4 * sum(block.size for block in layout)
    if len(parameters) != expected:
        raise StoredStateError(f"the stored state holds {len(parameters)} bytes of parameters, the task's model {expected}")
    return ModelState(np.frombuffer(parameters, dtype="<f4").astype(np.float32), height)


CHECKPOINT_INTERVAL = 32
"""Generations between two states that members of a total order vouch for; a multiple of every learner's own interval."""

CHECKPOINT_DIGEST_BYTES = 32

_CHECKPOINT_TAG = b"kubrat/checkpoint/2"
_KEPT_HEAD = struct.Struct(">32s32s32sQQQ")
_NO_STEP = bytes(32)


def encode_kept_state(state: StateKept) -> bytes:
    """Step id, commit id (zeros without one), state digest; height, commit, bytes of the parameters (8 bytes each, big endian);
    the parameters; the memory."""
    commit_step = state.commit_step or _NO_STEP
    head = _KEPT_HEAD.pack(state.step, commit_step, state.state_digest, state.height, state.commit, len(state.parameters))
    return head + state.parameters + state.memory


def decode_kept_state(data: bytes) -> StateKept:
    """The inverse of encode_kept_state, for bytes from our own records, or of a digest that enough members vouch for."""
    assert len(data) >= _KEPT_HEAD.size, f"kept state of {len(data)} bytes, at least {_KEPT_HEAD.size} expected"
    step, commit_step, state_digest, height, commit, length = _KEPT_HEAD.unpack_from(data)
    first, last = _KEPT_HEAD.size, _KEPT_HEAD.size + length
    assert len(data) >= last, f"kept state of {len(data)} bytes, at least {last} expected"
    return StateKept(
        step,
        height,
        data[first:last],
        commit,
        commit_step if commit_step != _NO_STEP else b"",
        state_digest,
        data[last:],
    )


def checkpoint_digest(encoded: bytes) -> bytes:
    """Names an encoded kept state: what members of a total order sign, and fetch from one another."""
    return hashlib.blake2b(_CHECKPOINT_TAG + encoded, digest_size=CHECKPOINT_DIGEST_BYTES).digest()
