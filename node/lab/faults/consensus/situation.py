"""Whose replica is bent, and what its owner can do besides: sign anything, and run a second machine with the same key."""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.encoding import Signer
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.total_order.committee import Committee
from consensus.types import NetworkId, PeerId
from node.lab.faults.consensus.own_blocks import OwnBlockReader, OwnOrderBlocks, OwnWorkBlocks
from node.lab.faults.consensus.withheld_parts import Withholding
from node.lab.faults.fault import Values
from node.runtime.coupling import ReplicaPort


@dataclass(frozen=True, slots=True)
class ReplicaSituation:
    """One faulty peer of one network."""

    identity: PeerId
    network_id: NetworkId
    sign: Signer
    members: tuple[PeerId, ...]
    """Of the total order; none under proof of work."""
    future_limit_ms: int
    """How far ahead of the clock a block may be dated; 0 under total order, where no limit is needed."""
    make_twin: Callable[[], ReplicaPort]
    """A second replica of this key, that knows of no record and no guard."""
    withholding: Withholding
    """How who asks this peer for large bytes is answered."""
    work_rules: ProofOfWorkRules | None = None
    """Of proof of work."""
    gc_depth: int = 0
    """Of the total order: rounds below the last commit that are still ordered."""

    @property
    def committee(self) -> Committee:
        """Of the total order; there is one only where there are members."""
        return Committee(self.members)

    @property
    def index(self) -> int:
        """This peer's place among the members."""
        return self.members.index(self.identity)

    @property
    def own_blocks(self) -> OwnBlockReader:
        """How to find this peer's own blocks in what it sends."""
        return OwnOrderBlocks(self.index) if self.members else OwnWorkBlocks(self.identity)


MakeReplica = Callable[[Values, ReplicaPort, ReplicaSituation], ReplicaPort]
