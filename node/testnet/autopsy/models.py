"""Evolution: a kept state's digest is that of its height and parameters, computed anew (design: exact state)."""

import numpy as np

from consensus.protocol import Record
from learning.checkpoint import decode_kept_state
from learning.state import ModelState, state_digest
from node.replica import STATE_TABLE
from node.simulation.checkers.finding import Finding, Seen


class StatesAddUp:
    """Of gradients the digest covers what a rule remembers, too, which is for the rule alone to read."""

    name = "a kept state's digest follows from its parameters"
    reads = (Record,)

    def see(self, seen: Seen) -> Finding | None:
        """A kept state."""
        match seen.event:
            case Record(table, _, value) if table == STATE_TABLE:
                kept = decode_kept_state(value)
                parameters = np.frombuffer(kept.parameters, dtype="<f4").astype(np.float32)
                counted = state_digest(ModelState(parameters, kept.height))
                if counted != kept.state_digest:
                    detail = f"state at height {kept.height} says {kept.state_digest.hex()[:16]}, counted {counted.hex()[:16]}"
                    return Finding(self.name, detail, (seen,))
        return None
