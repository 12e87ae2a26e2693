"""One peer's network, side streams and driver, wired to each other: what the network says reaches the driver, and back."""

import logging
import random
import time
from functools import partial

from consensus.protocol import PeerJoined, PeerLeft
from consensus.types import PeerId
from learning.task import Layout
from node.api.telemetry import Vitals
from node.net.bulk_transfer import BulkTransfer, in_a_thread
from node.net.network_interface import NetSettings
from node.net.transport import PeerNetwork
from node.net.wire import GetPart, Part
from node.processes.learner import LearnerWorker
from node.processes.puzzle import PuzzleWorker
from node.rules.network_rules import network_id, rule_fields
from node.runtime.clock_watch import SystemClock
from node.runtime.composition import payload_bytes_max, state_bytes_max
from node.runtime.driver import Driver, Ports
from node.runtime.parts import PeerParts
from node.storage.remembered_addresses import remembered_addresses

log = logging.getLogger(__name__)

OUTBOUND_MIN = 8
"""Bitcoin's number; members of a total order are each connected to all others instead."""

OUTBOUND_BESIDE_MEMBERS = 4
"""Observers that a peer of a total order dials besides all members, so that those who only follow find each other."""


def outbound_target(members: int) -> int:
    """How many connections a peer dials, in a network of so many members; 0: open to all."""
    return max(OUTBOUND_MIN, members + OUTBOUND_BESIDE_MEMBERS) if members else OUTBOUND_MIN


class Connected:
    """All that one peer joins to the network with, once its task is loaded. Implements `NetworkEvents`."""

    def __init__(
        self, parts: PeerParts, layout: Layout, vitals: Vitals, learner: LearnerWorker, puzzle: PuzzleWorker | None
    ) -> None:
        self._vitals = vitals
        self._part_server = parts.part_server
        self.network = self._make_network(parts)
        self.streams = BulkTransfer(
            parts.store,
            self.network,
            state_bytes_max=state_bytes_max(parts.rules, len(parts.members), layout),
            payload_bytes_max=payload_bytes_max(parts.rules, layout),
            clock=time.monotonic,
            off_loop=in_a_thread,
        )
        ports = Ports(
            clock=SystemClock(),
            records=parts.store,
            side_streams=self.streams,
            outbox=self.network,
            learner=learner,
            puzzle=puzzle,
        )
        self.driver = self.streams.driver = Driver(parts.replica, ports)

    def _make_network(self, parts: PeerParts) -> PeerNetwork:
        settings = NetSettings(
            listen_host=parts.settings.listen_host,
            listen_port=parts.settings.listen_port,
            dial=parts.settings.peers,
            remembered=remembered_addresses(parts.store),
            outbound_target=outbound_target(len(parts.members)),
            members=frozenset(parts.members),
        )
        return PeerNetwork(
            identity=parts.identity.peer_id,
            sign=parts.identity.sign,
            network_id=network_id(parts.rules),
            rules=rule_fields(parts.rules),
            settings=settings,
            events=self,
            random=random.Random(),
            clock=time.monotonic,
            stopwatch=time.perf_counter,
        )

    # --- what the network says ---

    def on_peer_joined(self, peer: PeerId, group: bytes) -> None:
        """A connection to `peer` exists."""
        self.driver.feed(PeerJoined(peer, group))

    def on_peer_left(self, peer: PeerId) -> None:
        """It is gone."""
        self.driver.feed(PeerLeft(peer))

    def on_message(self, peer: PeerId, message: bytes) -> bool:
        """A message of the ordering protocol; whether it was looked at."""
        return self.driver.on_message(peer, message)

    def on_part_request(self, peer: PeerId, question: GetPart) -> None:
        """A peer asks for a part of something large."""
        self._part_server.answer(peer, question, partial(self.network.give_part, peer))

    def on_part(self, peer: PeerId, part: Part) -> None:
        """A part of something large that we may have asked for."""
        self.streams.on_part(peer, part)

    def note(self, text: str) -> None:
        """What a person should know."""
        self._vitals.note(text, time.monotonic())
        log.warning("%s", text)
