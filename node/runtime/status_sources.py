"""One peer's status document, put together from its parts at the moment somebody asks."""

import time
from dataclasses import dataclass, field
from importlib.metadata import version

from consensus.types import PeerId
from node.api.chains import ChainSource
from node.api.status import ClockStatus, NodeStatus, PeerLink
from node.api.telemetry import LagProbe, MemoryProbe, Vitals
from node.net.transport import PeerNetwork
from node.rules.network_rules import Learning, NetworkRules, network_id
from node.rules.settings import PeerSettings
from node.runtime.driver import Driver


@dataclass(frozen=True, slots=True)
class StatusSources:
    """Where the figures come from."""

    settings: PeerSettings
    rules: NetworkRules
    peer_id: PeerId
    chain: ChainSource
    vitals: Vitals
    network: PeerNetwork
    driver: Driver
    lag: LagProbe
    memory: MemoryProbe
    misconduct: str = ""
    """What the peer was told to do wrong, for trying attacks."""
    started_s: float = field(default_factory=time.monotonic)

    def document(self) -> NodeStatus:
        """What the peer knows of itself now."""
        vitals, memory = self.vitals, self.memory.latest
        chain = self.chain.facts(vitals)
        awaited = self.driver.awaited
        head, now_s, peers = vitals.head, time.monotonic(), self.network.peers()
        return NodeStatus(
            version=version("kubrat"),
            network_id=network_id(self.rules).hex(),
            peer_id=self.peer_id.hex(),
            network_name=self.rules.name,
            task=self.rules.task.name,
            listen=f"{self.settings.listen_host}:{self.network.port}",
            consensus=self.rules.consensus.value,
            is_observer=self.settings.is_observer,
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
            loop_lag_p99_ms=round(self.lag.percentile_ms(0.99), 2),
            loop_lag_max_ms=round(self.lag.percentile_ms(1.0), 2),
            rss_mb=None if memory is None else round(memory.rss_mb, 1),
            pss_mb=None if memory is None else round(memory.pss_mb, 1),
            bytes_sent=self.network.bytes_sent,
            bytes_received=self.network.bytes_received,
            uptime_s=round(now_s - self.started_s, 1),
            last_error=vitals.last_error(now_s, [info.address for info in peers]),
            notes=tuple(vitals.notes),
            waiting_for_payloads="" if awaited is None else awaited.told("block" if chain.order is None else "commit"),
            steps=chain.steps,
            final_steps=chain.final_steps,
            puzzle=chain.puzzle,
            order=chain.order,
            generation=chain.generation,
            learning=self.rules.learning.value,
            rule=self.rules.gradient.rule if self.rules.learning is Learning.GRADIENT else "",
            fault=self.misconduct,
            gradients=None if vitals.gradients is None else vitals.gradients.status(),
            clock=_clock_status(self.driver, chain.peers_ahead_ms),
            behind_by=chain.behind_by,
            accusations=tuple(
                f"{accusation.accused.hex()[:8]}: {accusation.offence} ({accusation.detail})"
                for accusation in self.driver.accusations
            ),
        )


def _clock_status(driver: Driver, peers_ahead_ms: int | None) -> ClockStatus:
    jump = driver.clock_watch.jump
    return ClockStatus(peers_ahead_ms=peers_ahead_ms) if jump is None else ClockStatus(jump.number, jump.by_ms, peers_ahead_ms)
