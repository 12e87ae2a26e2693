"""A kept state as bytes, and the digest that members of a total order vouch for: the same at every one of them."""

import hashlib
import struct

from learning.learner import StateKept

CHECKPOINT_INTERVAL = 32
"""Generations between two states that members of a total order vouch for; a multiple of every learner's own interval."""

CHECKPOINT_DIGEST_BYTES = 32

_CHECKPOINT_TAG = b"kubrat/checkpoint/1"
_KEPT_HEAD = struct.Struct(">32s32sQQ")
_NO_STEP = bytes(32)


def encode_kept_state(state: StateKept) -> bytes:
    """Step id, commit id (zeros without one), height, commit (8 bytes each, big endian), parameters."""
    return _KEPT_HEAD.pack(state.step, state.commit_step or _NO_STEP, state.height, state.commit) + state.parameters


def decode_kept_state(data: bytes) -> StateKept:
    """The inverse of encode_kept_state, for bytes from our own records, or of a digest that enough members vouch for."""
    assert len(data) >= _KEPT_HEAD.size, f"kept state of {len(data)} bytes, at least {_KEPT_HEAD.size} expected"
    step, commit_step, height, commit = _KEPT_HEAD.unpack_from(data)
    return StateKept(step, height, data[_KEPT_HEAD.size :], commit, commit_step if commit_step != _NO_STEP else b"")


def checkpoint_digest(encoded: bytes) -> bytes:
    """Names an encoded kept state: what members of a total order sign, and fetch from one another."""
    return hashlib.blake2b(_CHECKPOINT_TAG + encoded, digest_size=CHECKPOINT_DIGEST_BYTES).digest()
