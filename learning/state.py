"""The state that all peers agree on: the flat parameters and the height, and the digest that every step commits to.

Section 3 of docs/protocol.md.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from learning.exact import first_weights, stream_key
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
