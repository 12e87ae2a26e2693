"""What a member of the committee has, and an observer has not: blocks of its own."""

from dataclasses import dataclass

from consensus.total_order.amnesia_recovery import AmnesiaRecovery
from consensus.total_order.dag import Vertex
from consensus.total_order.proposer import Proposer
from consensus.total_order.relay import Relay


@dataclass(frozen=True, slots=True)
class Member:
    """Creates blocks, sends with them what others seem to lack, and asks at every start which it has signed."""

    proposer: Proposer
    relay: Relay
    recovery: AmnesiaRecovery

    def on_accepted(self, vertex: Vertex) -> None:
        """The graph has accepted a block."""
        self.proposer.on_accepted(vertex)
        self.relay.on_accepted(vertex)
