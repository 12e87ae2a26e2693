"""The peers of a scenario: real machines, real replicas, real learners, with keys that follow from the seed."""

import hashlib
from collections.abc import Iterator
from functools import partial

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.proof_of_work.machine import ProofOfWork
from consensus.protocol import OrderingProtocol
from consensus.signing import Signer
from consensus.steps import genesis_step
from consensus.total_order.machine import TotalOrder
from consensus.types import Digest, Instant, PeerId, StepId
from learning.evolution.rules import SearchSettings
from learning.learner import AdoptRequest, Learner, LearnerRequest
from node.lab.faults.catalogue import ReplicaSituation, bent_replica, parse_faults
from node.lab.faults.faulty_learner import MakeFaultyLearner
from node.lab.scenarios.scenario import Scenario
from node.lab.scenarios.toy_tasks import EXACT, Processor, toy_task
from node.lab.simulation.disk import Records
from node.lab.simulation.disk_rows import DiskRows, kept_state, stored_rows
from node.lab.simulation.links import Links
from node.lab.simulation.peer import Build
from node.lab.simulation.wires import Direction
from node.lab.simulation.wiring import edges_of, links_of
from node.net.large_sizes import retention_of
from node.processes.learner import LearnerSpec, make_learner
from node.rules.network_file import (
    Consensus,
    NetworkRules,
    TaskSection,
    network_id,
    network_text,
    parse_network_text,
)
from node.rules.retention import commits_needed
from node.runtime.assembly import (
    PROOF_OF_WORK_TABLES,
    TOTAL_ORDER_TABLES,
    contribution_rank,
    learning_rules,
    proof_of_work_rules,
    total_order_rules,
)
from node.runtime.replica import PAYLOAD_TABLE, Replica, ReplicaPort

START = Instant(1_800_000_000_000)
"""When every simulation begins; a day in 2027."""

CANDIDATES_PER_SLICE = 16
"""Of a toy task: few, so that requests wait for a short time only."""


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
        """As in a real node: under a total order the learner tells its head at once."""
        kept = kept_state(records)
        return (AdoptRequest(b"" if kept is None else kept.step),) if self.is_ordered else ()

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

    def _built(
        self, key: Ed25519PrivateKey, peer: PeerId, fault: str, records: Records, guard_round: int
    ) -> tuple[ReplicaPort, Learner]:
        held = tuple(Digest(row) for table, row in records if table == PAYLOAD_TABLE)
        replica: ReplicaPort = Replica(
            self._machine(key, peer, records, guard_round), self.network_id, held, self._payload_commits
        )
        if fault:
            replica = bent_replica(parse_faults(fault), replica, self._situation(key, peer))
        return replica, self._learner(peer, fault, records)

    def _situation(self, key: Ed25519PrivateKey, peer: PeerId) -> ReplicaSituation:
        return ReplicaSituation(
            identity=peer,
            network_id=self.network_id,
            sign=key.sign,
            members=self.members,
            future_limit_ms=0 if self.is_ordered else self.rules.proof_of_work.future_limit_ms,
            make_twin=lambda: Replica(self._machine(key, peer, {}, 0), self.network_id),
            work_rules=None if self.is_ordered else proof_of_work_rules(self.rules),
            gc_depth=self.rules.total_order.gc_depth,
        )

    def _machine(self, key: Ed25519PrivateKey, peer: PeerId, records: Records, guard_round: int) -> OrderingProtocol:
        """As `node.runtime.assembly` puts it together, over a simulated disk."""
        kept = kept_state(records)
        seed = hashlib.blake2b(peer, digest_size=32).digest()
        if self.is_ordered:
            return TotalOrder(
                rules=total_order_rules(self.rules),
                network_id=self.network_id,
                members=self.members,
                identity=peer,
                sign=key.sign,
                seed=seed,
                records=stored_rows(records, TOTAL_ORDER_TABLES),
                archive=DiskRows(records),
                guard_round=guard_round,
                replay_from=None if kept is None else StepId(kept.commit_step),
                snapshot_behind=self.scenario.snapshot_behind or retention_of(self.rules).snapshot_behind,
            )
        return ProofOfWork(
            rules=proof_of_work_rules(self.rules),
            network_id=self.network_id,
            identity=peer,
            sign=key.sign,
            seed=seed,
            records=stored_rows(records, PROOF_OF_WORK_TABLES),
            archive=DiskRows(records),
            is_leading=self.ids.index(peer) < self.scenario.insiders,
            replay_from=None if kept is None else StepId(kept.step),
            rank=contribution_rank(self.rules),
        )

    def _learner(self, peer: PeerId, fault: str, records: Records) -> Learner:
        spec = LearnerSpec(
            task=self.scenario.task,
            folder="",
            rules=learning_rules(self.rules),
            network_id=self.network_id,
            author=peer,
            genesis_step=self.genesis,
            settings=SearchSettings(chunk=CANDIDATES_PER_SLICE),
            restored=kept_state(records),
            members=self.members,
        )
        make = MakeFaultyLearner(fault, self._colluders) if fault else make_learner
        return make(toy_task(self.scenario.task, self._processor(peer)), spec, DiskRows(records))

    def _processor(self, peer: PeerId) -> Processor:
        """Each its own, where they differ at all."""
        apart = self.scenario.measured_apart
        return Processor(int.from_bytes(peer[:4], "big"), apart) if apart else EXACT


def _key(seed: int, number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=32).digest())
