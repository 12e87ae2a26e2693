"""What one peer is made of, before it runs; and its status, put together from these parts at the moment somebody asks."""

import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version

from consensus.types import PeerId
from learning.learner import LearnerRequest
from node.api.chains import ChainSource
from node.api.effort import EffortTally, processor_time
from node.api.status import ClockStatus, NodeStatus, PeerLink
from node.api.telemetry import LagProbe, MemoryProbe, Vitals
from node.net.parts import PartPort
from node.net.transport import PeerNetwork
from node.processes.learner import LearnerSpec
from node.processes.puzzle import PuzzleSpec
from node.rules.network_rules import Learning, NetworkRules, network_id
from node.rules.settings import PeerSettings
from node.runtime.coupling import ReplicaPort
from node.runtime.driver import Driver
from node.storage.folder import NodeFolder
from node.storage.identity import Identity
from node.storage.store import Store

VERSION = version("kubrat")
"""Read once: finding a package's metadata on the disk takes a millisecond, and `status` is asked for every second."""

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


@dataclass(frozen=True, slots=True)
class StatusSources:
    """Where the figures come from."""

    parts: PeerParts
    vitals: Vitals
    network: PeerNetwork
    driver: Driver
    lag: LagProbe
    memory: MemoryProbe
    effort: EffortTally
    workers: tuple[int, ...]
    """Process ids of the learner, and of the puzzle where there is one."""
    started_s: float = field(default_factory=time.monotonic)

    def document(self) -> NodeStatus:
        """What the peer knows of itself now."""
        vitals, memory = self.vitals, self.memory.latest
        settings, rules = self.parts.settings, self.parts.rules
        chain = self.parts.chain.facts(vitals)
        awaited = self.driver.awaited
        head, now_s, peers = vitals.head, time.monotonic(), self.network.peers()
        return NodeStatus(
            version=VERSION,
            network_id=network_id(rules).hex(),
            peer_id=self.parts.identity.peer_id.hex(),
            network_name=rules.name,
            task=rules.task.name,
            listen=f"{settings.listen_host}:{self.network.port}",
            consensus=rules.consensus.value,
            is_observer=settings.is_observer,
            height=None if head is None else head.height,
            head=None if head is None else head.step.hex(),
            final_height=chain.final_height,
            finality_depth=chain.finality_depth,
            state_digest=None if head is None else head.state_digest.hex(),
            fitness=None if head is None else head.fitness,
            metrics={} if head is None else dict(head.metrics),
            peers=tuple(PeerLink(info.peer.hex(), info.address, info.is_outbound) for info in peers),
            blocks_led=chain.blocks_led,
            blocks_contested=chain.blocks_contested,
            candidates_per_second=vitals.candidates_per_second,
            task_faults=vitals.task_faults,
            loop_lag_p99_ms=round(self.lag.percentile_ms(0.99), 2),
            loop_lag_max_ms=round(self.lag.percentile_ms(1.0), 2),
            rss_mb=None if memory is None else round(memory.rss_mb, 1),
            pss_mb=None if memory is None else round(memory.pss_mb, 1),
            bytes_sent=self.network.bytes_sent,
            bytes_received=self.network.bytes_received,
            uptime_s=round(now_s - self.started_s, 1),
            last_error=vitals.last_error(now_s, [info.address for info in peers]),
            notes=tuple(vitals.notes),
            waiting_for_payloads="" if awaited is None else awaited.in_words("block" if chain.order is None else "commit"),
            steps=chain.steps,
            final_steps=chain.final_steps,
            puzzle=chain.puzzle,
            order=chain.order,
            generation=chain.generation,
            learning=rules.learning.value,
            rule=rules.gradient.rule if rules.learning is Learning.GRADIENT else "",
            fault=self.parts.misconduct,
            gradients=None if vitals.gradients is None else vitals.gradients.status(),
            learner_time=self.effort.since_start(now_s),
            learner_minute=self.effort.last_minute(now_s),
            processor=processor_time(self.parts.store.writer_ident, self.workers),
            clock=_clock_status(self.driver, chain.peers_ahead_ms),
            behind_by=chain.behind_by,
            accusations=tuple(
                f"{accusation.accused.hex()[:8]}: {accusation.offence} ({accusation.detail})"
                for accusation in self.driver.accusations
            ),
            curves=vitals.curve.figures,
        )


def _clock_status(driver: Driver, peers_ahead_ms: int | None) -> ClockStatus:
    jump = driver.clock_watch.jump
    return ClockStatus(peers_ahead_ms=peers_ahead_ms) if jump is None else ClockStatus(jump.number, jump.by_ms, peers_ahead_ms)
