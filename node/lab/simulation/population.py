"""The peers of a scenario: real machines, real replicas, real learners, with keys that follow from the seed."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.encoding import Signer
from consensus.protocol import OrderingProtocol
from consensus.steps import genesis_step
from consensus.types import Instant, PeerId
from learning.evolution.pace import stands_still
from learning.evolution.search import SearchSettings
from learning.learner import Learner, LearnerRequest
from node.lab.faults.catalogue import ReplicaSituation, faulty_replica, parse_faults
from node.lab.faults.consensus.withheld_parts import Withholding
from node.lab.faults.faulty_learner import MakeFaultyLearner
from node.lab.scenarios.scenario import Scenario
from node.lab.scenarios.toy_tasks import EXACT, Processor, toy_task
from node.lab.simulation.connections import Direction
from node.lab.simulation.disk import DiskRows, Records
from node.lab.simulation.links import Links, edges_of, links_of
from node.lab.simulation.peer import Build, Built
from node.processes.learner import make_learner
from node.rules.conversion import proof_of_work_rules
from node.rules.network_file import network_text, parse_network_text
from node.rules.network_rules import Consensus, NetworkRules, TaskSection, network_id
from node.rules.retention import PAYLOAD_COMMITS, commits_needed
from node.runtime.composition import (
    NoRows,
    PeerRows,
    Role,
    RowArchive,
    first_requests,
    kept_state,
    learner_spec,
    ordering_machine,
    replica_over,
    retention_of,
)
from node.runtime.coupling import ReplicaPort

START = Instant(1_800_000_000_000)
"""When every simulation begins; a day in 2027."""

SEARCH = SearchSettings(chunk=16, effort_min=4, effort_max=4)
"""Of a toy task: few in a slice, so that requests wait for a short time only; a fixed effort, since a slice takes as long as
another, whatever is in it."""


class Population:
    """All peers of one scenario and seed."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self._seed = seed
        keys = (_key(seed, number) for number in range(scenario.peers))
        self._keys = {PeerId(key.public_key().public_bytes_raw()): key for key in keys}
        self.ids = tuple(self._keys)
        self.is_ordered = scenario.consensus is Consensus.TOTAL_ORDER
        self.members = self.ids[: scenario.insiders] if self.is_ordered else ()
        self.rules = self._network_rules()
        self.network_id = network_id(self.rules)
        self.genesis = genesis_step(self.network_id)
        self._payload_commits = self._kept_for()
        self._colluders = tuple(sorted(self.ids[number] for number in scenario.ever_faulty))

    @property
    def honest(self) -> frozenset[PeerId]:
        """All that do not misbehave from their start on."""
        faulty = self.scenario.fault_of
        return frozenset(peer for number, peer in enumerate(self.ids) if number not in faulty)

    def builds(self) -> Iterator[tuple[PeerId, Build]]:
        """How each peer is made from its disk at first."""
        for number, peer in enumerate(self.ids):
            yield peer, self.build(peer, self.scenario.fault_of.get(number, ""))

    def build(self, peer: PeerId, fault: str) -> Build:
        """How a peer with this fault is made from its disk; without one where the text is empty."""
        return partial(self._built, self._keys[peer], peer, fault)

    def links(self) -> Links:
        """What the scenario says of links, and puzzles that take a block interval for all peers together."""
        return links_of(self.scenario, self.rules, self._seed)

    def edges(self) -> tuple[Direction, ...]:
        """Who may be connected to whom."""
        return tuple((self.ids[one], self.ids[other]) for one, other in edges_of(self.scenario, self._seed))

    def sign_as(self, peer: PeerId) -> Signer:
        """Signs with the key of this peer."""
        return self._keys[peer].sign

    def first_requests(self, records: Records) -> tuple[LearnerRequest, ...]:
        """As in a real node."""
        return first_requests(self.rules, kept_state(DiskRows(records)))

    # --- rules ---

    def _network_rules(self) -> NetworkRules:
        """A network file, as all peers would share it."""
        scenario, task = self.scenario, toy_task(self.scenario.task)
        section = TaskSection(task.name, task.data_digest.hex(), sum(block.size for block in task.layout))
        members = tuple(member.hex() for member in self.members)
        rules = NetworkRules(
            name="simulation",
            seed=hashlib.blake2b(f"{self._seed}/network".encode(), digest_size=32).hexdigest(),
            consensus=scenario.consensus,
            learning=scenario.learning,
            task=section,
            evolution=scenario.evolution,
            gradient=scenario.gradient,
            proof_of_work=scenario.proof_of_work,
            total_order=msgspec.structs.replace(scenario.total_order, members=members),
        )
        return parse_network_text(network_text(rules))

    def _kept_for(self) -> int:
        """Commits."""
        scenario, retention = self.scenario, retention_of(self.rules)
        if not scenario.is_retention_tight:
            return retention.payload_commits
        behind = scenario.snapshot_behind or retention.snapshot_behind
        return 1 + commits_needed(retention.interval, retention.gc_depth, behind)

    # --- one peer ---

    def _built(self, key: Ed25519PrivateKey, peer: PeerId, fault: str, records: Records, guard_round: int) -> Built:
        rows = DiskRows(records)
        machine = self._machine(self._role(key, peer), rows, guard_round)
        replica: ReplicaPort = replica_over(machine, self.rules, rows.payloads, self._payload_commits)
        withholding = Withholding()
        if fault:
            replica = faulty_replica(parse_faults(fault), replica, self._situation(key, peer, withholding))
        return Built(replica, self._learner(peer, fault, rows), withholding.serving_of)

    def _situation(self, key: Ed25519PrivateKey, peer: PeerId, withholding: Withholding) -> ReplicaSituation:
        return ReplicaSituation(
            identity=peer,
            network_id=self.network_id,
            sign=key.sign,
            members=self.members,
            future_limit_ms=0 if self.is_ordered else self.rules.proof_of_work.future_limit_ms,
            make_twin=lambda: replica_over(self._machine(self._role(key, peer), NoRows(), 0), self.rules, (), PAYLOAD_COMMITS),
            withholding=withholding,
            evolution=self.rules.evolution,
            work_rules=None if self.is_ordered else proof_of_work_rules(self.rules),
            gc_depth=self.rules.total_order.gc_depth,
        )

    def _role(self, key: Ed25519PrivateKey, peer: PeerId) -> Role:
        is_observer = not self.is_ordered and self.ids.index(peer) >= self.scenario.insiders
        return Role(peer, key.sign, hashlib.blake2b(peer, digest_size=32).digest(), is_observer)

    def _machine(self, role: Role, rows: PeerRows, guard_round: int) -> OrderingProtocol:
        behind = self.scenario.snapshot_behind or None
        return ordering_machine(self.rules, role, rows, guard_round=guard_round, snapshot_behind=behind)

    def _learner(self, peer: PeerId, fault: str, rows: DiskRows) -> Learner:
        spec = replace(learner_spec(self.rules, peer, kept_state(rows)), search=SEARCH, clock=stands_still)
        make = MakeFaultyLearner(fault, self._colluders) if fault else make_learner
        return make(toy_task(self.scenario.task, self._processor(peer)), spec, RowArchive(rows))

    def _processor(self, peer: PeerId) -> Processor:
        """Each its own, where they differ at all."""
        apart = self.scenario.measured_apart
        return Processor(int.from_bytes(peer[:4], "big"), apart) if apart else EXACT


def _key(seed: int, number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=32).digest())
