"""A kept state's digest is that of its height and its parameters, worked out anew (design: exact state)."""

import hashlib

from consensus.effects import Record
from learning.learner import StateKept
from learning.state import decode_kept_state
from node.lab.checkers.finding import Finding, Seen
from node.storage.tables import STATE_TABLE

TAG = b"kubrat/state/1"


class StatesAddUp:
    """Where a digest covers what a rule remembers, too, as of gradients under proof of work, it is for the rule alone to read.

    `is_memory_covered`: such states are left out.
    """

    name = "a kept state's digest follows from its parameters"
    reads = (Record,)

    def __init__(self, *, is_memory_covered: bool) -> None:
        self._is_memory_covered = is_memory_covered

    def see(self, seen: Seen) -> Finding | None:
        """A kept state."""
        match seen.event:
            case Record(table, _, value) if table == STATE_TABLE:
                kept = decode_kept_state(value)
                if kept.memory and self._is_memory_covered:
                    return None
                counted = digest_from_scratch(kept)
                if counted != kept.state_digest:
                    detail = f"state at height {kept.height} says {kept.state_digest.hex()[:16]}, counted {counted.hex()[:16]}"
                    return Finding(self.name, detail, (seen,))
        return None


def digest_from_scratch(kept: StateKept) -> bytes:
    """BLAKE2b-256 over the length of the tag, the tag, the height (u64, little-endian) and the parameters as they are kept."""
    content = bytes([len(TAG)]) + TAG + kept.height.to_bytes(8, "little") + kept.parameters
    return hashlib.blake2b(content, digest_size=32).digest()
