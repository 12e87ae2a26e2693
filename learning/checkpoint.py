"""A kept state as bytes, and the digest that members of a total order vouch for: the same at every one of them.

Section 6 of docs/protocol.md.
"""

import hashlib
import struct

from learning.learner import StateKept

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
