"""The words of the ordering rooms: who, what, when, as types that cannot be swapped by accident (docs/protocol.md, 1)."""

from typing import NewType

PeerId = NewType("PeerId", bytes)
"""An Ed25519 public key, 32 bytes. A peer is its key."""

NetworkId = NewType("NetworkId", bytes)
"""Digest of the network file, 32 bytes. Everything that is signed is bound to it."""

Digest = NewType("Digest", bytes)
"""BLAKE2b-256 of signed content, 32 bytes; never of the signature."""

StepId = NewType("StepId", bytes)
"""Digest that names one step (for proof of work: the header's digest), 32 bytes."""

Height = NewType("Height", int)
"""Steps since genesis; genesis has height 0."""

Instant = NewType("Instant", int)
"""Milliseconds since some zero of this process, monotonic: for deadlines and durations, never for a block's time."""

WallTime = NewType("WallTime", int)
"""Milliseconds since 1970-01-01 UTC, as the wall clock shows them: for block times, never for a deadline."""

DIGEST_BYTES = 32
KEY_BYTES = 32
SIGNATURE_BYTES = 64
