"""What computing costs, and the cores that it keeps busy: one for a peer's event loop, one for its puzzle process.

Without a price nothing here takes time. A learner has its own process and its own prices (`node.lab.simulation.links`).
"""

from dataclasses import dataclass

from node.rules.network_rules import Consensus

SIGNED_BYTES = 288
"""A header of proof of work, or a small block of a total order: about so many bytes of a message for each signature in it."""

_SIGNED_WORK_TAGS = frozenset({0, 1, 4, 6})
"""Blocks, contributions, headers, blocks that were asked for (`consensus.proof_of_work.messages`)."""

_SIGNED_ORDER_TAGS = frozenset({0, 2, 4, 6})
"""Blocks in all the messages that carry them (`consensus.total_order.messages`)."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Of one ordinary core, in microseconds and nanoseconds; all 0: nothing takes time."""

    message_us: int = 0
    """To take a message off a connection, and to look at any other input of the machine."""
    byte_ns: int = 0
    """To unseal, decode and hash a byte that comes, or to encode one that goes."""
    signature_us: int = 0
    """To verify one."""
    puzzle_us: int = 0
    """To verify one, in the puzzle's process, which mines in the time that is left."""

    @property
    def are_due(self) -> bool:
        """Whether the event loop's work takes any time."""
        return bool(self.message_us or self.byte_ns or self.signature_us)

    def taking_us(self, size: int) -> int:
        """Of any frame that comes."""
        return self.message_us + size * self.byte_ns // 1000

    def sending_us(self, size: int) -> int:
        """Of a message that goes."""
        return size * self.byte_ns // 1000

    def judging_us(self, message: bytes, consensus: Consensus) -> int:
        """Of the signatures in a message of the ordering protocol, at most."""
        tags = _SIGNED_WORK_TAGS if consensus is Consensus.PROOF_OF_WORK else _SIGNED_ORDER_TAGS
        is_signed = len(message) > 1 and message[1] in tags  # a short array whose first item is the tag
        return self.message_us + is_signed * max(1, len(message) // SIGNED_BYTES) * self.signature_us


NO_PRICES = Prices()


@dataclass(slots=True)
class Core:
    """Does one thing after the other. Times are true time."""

    free_at_us: int = 0
    worked_us: int = 0
    """In all."""

    def take(self, now_ms: int, cost_us: float) -> int:
        """Do something more; in how many ms it is done."""
        start_us = max(self.free_at_us, 1000 * now_ms)
        self.free_at_us = start_us + round(cost_us)
        self.worked_us += round(cost_us)
        return -(-self.free_at_us // 1000) - now_ms

    def backlog_ms(self, now_ms: int) -> int:
        """How long it is busy from now on."""
        return max(0, -(-self.free_at_us // 1000) - now_ms)
