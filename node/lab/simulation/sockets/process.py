"""One run of a peer's process: the node's own driver, network and bulk transfer, over virtual time and a disk in memory."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from consensus.effects import Accuse
from consensus.encoding import Signer
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.protocol import Input, PeerJoined, PeerLeft
from consensus.types import NetworkId, PeerId
from learning.learner import LearnerAnswer, StepAdopted
from node.lab.faults.catalogue import NetworkSituation, attacks_of, parse_faults
from node.lab.faults.consensus.withheld_parts import WithheldParts
from node.lab.scenarios.toy_tasks import toy_task
from node.lab.simulation.links import Links
from node.lab.simulation.peer import Agenda, FirstRequests, PeerClock, SimulatedPeer
from node.lab.simulation.population import Population
from node.lab.simulation.processes import LearnerDesk, Puzzles
from node.lab.simulation.sockets.internet import Host, ip_of
from node.lab.simulation.sockets.simulated_ports import (
    DiskRecords,
    SampledPuzzles,
    ToldLearner,
    ToldOutbox,
    ToldReplica,
    ToldStreams,
)
from node.lab.simulation.trace import Happening
from node.net.bulk_transfer import BulkTransfer
from node.net.network_interface import NetSettings
from node.net.parts import PartServer
from node.net.transport import PeerNetwork
from node.net.wire import GetPart, Part
from node.rules.conversion import proof_of_work_rules
from node.rules.network_rules import rule_fields
from node.runtime.composition import payload_bytes_max, state_bytes_max
from node.runtime.connected import outbound_target
from node.runtime.driver import Driver, Ports


@dataclass(frozen=True, slots=True)
class SimulatedWorld:
    """The same for everybody, honest or not."""

    network_id: NetworkId
    members: tuple[PeerId, ...]
    rules: tuple[tuple[str, str], ...]
    """The (field, value) pairs of the network file."""
    work_rules: ProofOfWorkRules | None
    """Of a proof of work."""
    outbound_target: int
    state_bytes_max: int
    payload_bytes_max: int
    sign_as: Callable[[PeerId], Signer]
    given: tuple[tuple[int, ...], ...]
    """By number: the peers whose addresses each was given, by number."""
    first_requests: FirstRequests
    settings: NetSettings
    """The real node's own, but for addresses."""


def ground_of(population: Population) -> SimulatedWorld:
    """As the real node would have it."""
    members, layout = len(population.members), toy_task(population.scenario.task).layout
    return SimulatedWorld(
        network_id=population.network_id,
        members=population.members,
        rules=rule_fields(population.rules),
        work_rules=None if population.is_ordered else proof_of_work_rules(population.rules),
        outbound_target=outbound_target(members),
        state_bytes_max=state_bytes_max(population.rules, members, layout),
        payload_bytes_max=payload_bytes_max(population.rules, layout),
        sign_as=population.sign_as,
        given=_given(population),
        first_requests=population.first_requests,
        settings=NetSettings(members=frozenset(population.members)),
    )


def places_of(population: Population) -> int:
    """How many connections one peer may have."""
    ground = ground_of(population)
    return ground.settings.inbound_max + ground.outbound_target


def _given(population: Population) -> tuple[tuple[int, ...], ...]:
    """Of two that may be connected each knows where the other is."""
    number_of = {peer: number for number, peer in enumerate(population.ids)}
    given: list[list[int]] = [[] for _ in population.ids]
    for one, other in population.edges():
        given[number_of[one]].append(number_of[other])
        given[number_of[other]].append(number_of[one])
    return tuple(tuple(numbers) for numbers in given)


PORT = 7_000
"""Where every peer listens."""

NOTES_MAX = 1_024
"""The newest things that a person would read of one peer."""


@dataclass(slots=True)
class Doors:
    """Of one peer, or of several together."""

    came: int = 0
    """Connections that were accepted: the peers' own among them, and outsiders'."""
    proven: int = 0
    """Connections, dialled or accepted, whose other side has proven a key and got a place."""
    noted: int = 0
    """What people were told: peers that were refused, dropped, or cannot be reached."""

    def __add__(self, other: "Doors") -> "Doors":
        return Doors(self.came + other.came, self.proven + other.proven, self.noted + other.noted)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What one incarnation runs in."""

    seed: int
    ground: SimulatedWorld
    agenda: Agenda
    links: Links
    puzzles: Puzzles
    clock: Callable[[], float]
    """Monotonic, in seconds."""
    happened: Callable[[SimulatedPeer, Happening], None]


class SimulatedProcess:
    """Made from what the peer is now. Implements `NetworkEvents`."""

    def __init__(self, peer: SimulatedPeer, host: Host, doors: Doors, around: Surroundings) -> None:
        self.host = host
        self.notes: deque[str] = deque(maxlen=NOTES_MAX)
        self._peer = peer
        self._doors = doors
        self._number = peer.incarnation
        self._around = around
        self._desk = LearnerDesk(peer, around.agenda, around.links, self._answered)
        self.network = self._make_network()
        clock = PeerClock(peer, around.agenda)
        self.records = DiskRecords(peer.disk, around.links.disk_ms, clock.now, self._tell, self._is_alive)
        self._streams = BulkTransfer(
            self.records,
            self.network,
            state_bytes_max=around.ground.state_bytes_max,
            payload_bytes_max=around.ground.payload_bytes_max,
            clock=around.clock,
        )
        honest = PartServer(self.records, frozenset(around.ground.members), around.clock)
        self._server = WithheldParts(honest, peer.serving_of, _after)
        self._replica = ToldReplica(peer.replica, self._tell)
        self._driver = Driver(self._replica, self._ports(clock))
        self._streams.driver = self._driver

    async def run(self) -> None:
        """Until cancelled. Raises a group of what a part raises: HaltedError, DiskFullError, or a mistake."""
        self._desk.start(self._around.ground.first_requests(self._peer.records))
        self._driver.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._driver.run(), name="driver")
            group.create_task(self.network.run(), name="network")
            group.create_task(self._streams.run(), name="side streams")
            for attack in attacks_of(parse_faults(self._peer.fault), self._situation()):
                group.create_task(attack(), name="attack")

    def _is_alive(self) -> bool:
        return self._peer.is_up and self._peer.incarnation == self._number

    # --- parts ---

    def _make_network(self) -> PeerNetwork:
        ground, number = self._around.ground, self._peer.number
        settings = replace(
            ground.settings,
            listen_host=self.host.ip,
            listen_port=PORT,
            dial=tuple((ip_of(other), PORT) for other in ground.given[number]),
            outbound_target=ground.outbound_target,
        )
        return PeerNetwork(
            identity=self._peer.id,
            sign=ground.sign_as(self._peer.id),
            network_id=ground.network_id,
            rules=ground.rules,
            settings=settings,
            events=self,
            random=self._random("network"),
            clock=self._around.clock,
            stopwatch=self._around.clock,
        )

    def _ports(self, clock: PeerClock) -> Ports:
        peer, around = self._peer, self._around
        puzzle = SampledPuzzles(peer, around.agenda, around.links, around.puzzles, self._fed, self._tell)
        return Ports(
            clock=clock,
            records=self.records,
            side_streams=ToldStreams(self._streams, self._tell),
            outbox=ToldOutbox(self.network, self._tell),
            learner=ToldLearner(self._desk, self._tell),
            puzzle=puzzle,
        )

    def _situation(self) -> NetworkSituation:
        ground = self._around.ground
        return NetworkSituation(
            ground.network_id, ground.rules, self.network.known_addresses, self._random("strangers"), ground.work_rules
        )

    def _random(self, purpose: str) -> Random:
        return Random(f"{self._around.seed}/{purpose}/{self._peer.number}/{self._number}")

    # --- what is told ---

    def _tell(self, happening: Happening) -> None:
        if not self._is_alive():
            return
        if isinstance(happening, Accuse):
            self._peer.accusations.append(happening.accusation)
        self._peer.effects_done += 1
        self._around.happened(self._peer, happening)

    def _fed(self, event: Input) -> None:
        self._driver.feed(event)

    def _answered(self, answer: LearnerAnswer) -> None:
        self._around.happened(self._peer, answer)
        if isinstance(answer, StepAdopted):
            self._peer.head = answer
        self._driver.handle_answer(answer)

    # --- what the network says ---

    def on_peer_joined(self, peer: PeerId, group: bytes) -> None:
        """A connection to `peer` exists."""
        self._doors.proven += 1
        self._driver.feed(PeerJoined(peer, group))

    def on_peer_left(self, peer: PeerId) -> None:
        """It is gone."""
        self._driver.feed(PeerLeft(peer))

    def on_message(self, peer: PeerId, message: bytes) -> bool:
        """A message of the ordering protocol; whether it was looked at."""
        return self._driver.on_message(peer, message)

    def on_part_request(self, peer: PeerId, question: GetPart) -> None:
        """A peer asks for a part of something large."""
        self._server.answer(peer, question, partial(self.network.give_part, peer))

    def on_part(self, peer: PeerId, part: Part) -> None:
        """A part of something large that we may have asked for."""
        self._streams.on_part(peer, part)

    def note(self, text: str) -> None:
        """What a person should know."""
        self._doors.noted += 1
        self.notes.append(text)


def _after(seconds: float, action: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, action)
