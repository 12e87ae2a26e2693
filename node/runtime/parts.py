"""What one peer is made of, before it runs."""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass

from consensus.types import PeerId
from learning.learner import LearnerRequest
from node.api.chains import ChainSource
from node.net.part_server import PartPort
from node.net.transport import PeerNetwork
from node.processes.learner import LearnerSpec
from node.processes.puzzle import PuzzleSpec
from node.rules.network_rules import NetworkRules
from node.rules.settings import PeerSettings
from node.runtime.coupling import ReplicaPort
from node.storage.folder import NodeFolder
from node.storage.identity import Identity
from node.storage.store import Store

Companion = Callable[[], Coroutine[None, None, None]]
"""Goes on until it is cancelled."""


def nobody(network: PeerNetwork) -> Iterable[Companion]:  # noqa: ARG001 - what others need
    """No companions."""
    return ()


@dataclass(frozen=True, slots=True)
class PeerParts:
    """What `node.runtime.assembly` has opened and built for one peer."""

    settings: PeerSettings
    folder: NodeFolder
    identity: Identity
    rules: NetworkRules
    store: Store
    replica: ReplicaPort
    chain: ChainSource
    learner: LearnerSpec
    puzzle: PuzzleSpec | None
    """None where no puzzle is worked on."""
    part_server: PartPort
    """Gives others the large bytes that the store holds."""
    first_requests: tuple[LearnerRequest, ...]
    """What the learner is asked before all else."""
    companions: Callable[[PeerNetwork], Iterable[Companion]] = nobody
    """What runs beside the network, until the peer stops; an honest peer has nothing of the kind."""
    misconduct: str = ""
    """What the peer was told to do wrong, for trying attacks; shown to people."""

    @property
    def members(self) -> tuple[PeerId, ...]:
        """Of a total order; none where membership is open."""
        return tuple(PeerId(member) for member in self.learner.participant.members)
