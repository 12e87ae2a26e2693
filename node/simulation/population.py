"""The peers of a scenario: real machines, real replicas, real learners, with keys that follow from the seed."""

import hashlib
from collections.abc import Iterator
from functools import partial
from itertools import combinations
from random import Random
from typing import assert_never

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.proof_of_work.header import genesis_id
from consensus.proof_of_work.machine import ProofOfWork
from consensus.protocol import OrderingProtocol
from consensus.total_order.machine import TotalOrder
from consensus.total_order.snapshot import SNAPSHOT_BEHIND
from consensus.types import Instant, PeerId, StepId
from learning.checkpoint import decode_kept_state
from learning.evolution.rules import SearchSettings
from learning.learner import AdoptRequest, Learner, LearnerRequest, StateKept
from node.assembly import (
    PROOF_OF_WORK_TABLES,
    TOTAL_ORDER_TABLES,
    learning_rules,
    proof_of_work_rules,
    total_order_rules,
)
from node.faults.catalogue import ReplicaSituation, bent_replica, parse_faults
from node.network_file import (
    Consensus,
    Learning,
    NetworkRules,
    TaskSection,
    network_id,
    network_text,
    parse_network_text,
)
from node.replica import PAYLOAD_TABLE, SNAPSHOT_COMMITS, STATE_KEY, STATE_TABLE, Replica, ReplicaPort
from node.simulation.disk import Records
from node.simulation.latency import Constant, Latency, Lognormal, Regions, Uniform
from node.simulation.links import Links
from node.simulation.peer import Build
from node.simulation.scenario import Delays, Scenario
from node.simulation.toy_tasks import toy_task
from node.simulation.wires import Direction
from node.workers.learner import LearnerSpec, make_learner

START = Instant(1_800_000_000_000)
"""When every simulation begins; a day in 2027."""

CANDIDATES_PER_SLICE = 16
"""Of a toy task: few, so that requests wait for a short time only."""


class DiskRows:
    """Reads a simulated disk: for the machines' archives and for learners that look for large payloads."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def value(self, table: str, key: bytes) -> bytes | None:
        """What was recorded under (table, key)."""
        return self._records.get((table, key))

    def block(self, key: bytes) -> bytes | None:
        """What was recorded under this key of the block table."""
        return self._records.get(("block", key))

    def payload(self, digest: bytes) -> bytes | None:
        """The large payload of this digest."""
        return self._records.get((PAYLOAD_TABLE, digest))


class Population:
    """All peers of one scenario and seed."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self._seed = seed
        self._keys = [_key(seed, number) for number in range(scenario.peers)]
        self.ids = tuple(PeerId(key.public_key().public_bytes_raw()) for key in self._keys)
        self.is_ordered = scenario.consensus is Consensus.TOTAL_ORDER
        self.members = self.ids if self.is_ordered else ()
        self.rules = self._network_rules()
        self.network_id = network_id(self.rules)
        self.genesis = genesis_id(self.network_id)
        self.faulty = {self.ids[number]: fault for number, fault in scenario.fault_of.items()}

    @property
    def honest(self) -> frozenset[PeerId]:
        """All that do not misbehave."""
        return frozenset(self.ids) - self.faulty.keys()

    def builds(self) -> Iterator[tuple[PeerId, Build]]:
        """How each peer is made from its disk."""
        for key, peer in zip(self._keys, self.ids, strict=True):
            yield peer, partial(self._built, key, peer)

    def links(self) -> Links:
        """What the scenario says of links, and puzzles that take a block interval for all peers together."""
        section, work = self.scenario.links, self.rules.proof_of_work
        attempts_per_second = 1000 * work.start_attempts / work.block_interval_ms / self.scenario.peers
        return Links(
            latency=self._latency(),
            attempts_per_second=attempts_per_second,
            answer_ms=section.answer_ms,
            slice_ms=section.slice_ms,
            is_ordered=section.is_ordered,
            uplink_kbit_s=section.uplink_kbit_s,
            silence_ms=section.silence_ms,
            reconnect_ms=section.reconnect_ms,
            disk_ms=section.disk_ms,
        )

    def edges(self) -> tuple[Direction, ...]:
        """Who may be connected to whom: everybody, or each peer with some others that are drawn, so that all hang together."""
        count = self.scenario.links.neighbours
        if not count:
            return tuple(combinations(self.ids, 2))
        random = Random(f"{self._seed}/edges")
        pairs: dict[tuple[int, int], None] = {}
        for peer in range(1, len(self.ids)):
            dialled = {random.randrange(peer), *random.sample(range(len(self.ids)), count)} - {peer}
            pairs.update(((min(peer, other), max(peer, other)), None) for other in sorted(dialled))
        return tuple((self.ids[one], self.ids[other]) for one, other in pairs)

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

    def _latency(self) -> Latency:
        links = self.scenario.links
        match links.delay:
            case Delays.CONSTANT:
                return Constant(links.ms_min)
            case Delays.UNIFORM:
                return Uniform(links.ms_min, links.ms_max)
            case Delays.LOGNORMAL:
                return Lognormal(max(1, links.ms_min), float(links.sigma))
            case Delays.REGIONS:
                return Regions.drawn(len(self.ids), Random(f"{self._seed}/places"))
            case _:
                assert_never(links.delay)

    # --- one peer ---

    def _built(self, key: Ed25519PrivateKey, peer: PeerId, records: Records, guard_round: int) -> tuple[ReplicaPort, Learner]:
        replica: ReplicaPort = Replica(self._machine(key, peer, records, guard_round), self.network_id)
        if peer in self.faulty:
            replica = bent_replica(parse_faults(self.faulty[peer]), replica, self._situation(key, peer))
        return replica, self._learner(peer, records)

    def _situation(self, key: Ed25519PrivateKey, peer: PeerId) -> ReplicaSituation:
        return ReplicaSituation(
            identity=peer,
            network_id=self.network_id,
            sign=key.sign,
            members=self.members,
            future_limit_ms=0 if self.is_ordered else self.rules.proof_of_work.future_limit_ms,
            make_twin=lambda: Replica(self._machine(key, peer, {}, 0), self.network_id),
        )

    def _machine(self, key: Ed25519PrivateKey, peer: PeerId, records: Records, guard_round: int) -> OrderingProtocol:
        """As `node.assembly` puts it together, over a simulated disk."""
        kept = kept_state(records)
        seed = hashlib.blake2b(peer, digest_size=32).digest()
        if self.is_ordered:
            usual = SNAPSHOT_COMMITS if self.scenario.learning is Learning.GRADIENT else SNAPSHOT_BEHIND
            return TotalOrder(
                rules=total_order_rules(self.rules),
                network_id=self.network_id,
                members=self.members,
                identity=peer,
                sign=key.sign,
                seed=seed,
                records=_stored(records, TOTAL_ORDER_TABLES),
                archive=DiskRows(records),
                guard_round=guard_round,
                replay_from=None if kept is None else StepId(kept.commit_step),
                snapshot_behind=self.scenario.snapshot_behind or usual,
            )
        return ProofOfWork(
            rules=proof_of_work_rules(self.rules),
            network_id=self.network_id,
            identity=peer,
            sign=key.sign,
            seed=seed,
            records=_stored(records, PROOF_OF_WORK_TABLES),
            archive=DiskRows(records),
            replay_from=None if kept is None else StepId(kept.step),
        )

    def _learner(self, peer: PeerId, records: Records) -> Learner:
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
            fault=self.faulty.get(peer, ""),
            colluders=tuple(sorted(self.faulty)),
        )
        return make_learner(toy_task(self.scenario.task), spec, DiskRows(records))


def kept_state(records: Records) -> StateKept | None:
    """The newest final state on a disk."""
    data = records.get((STATE_TABLE, STATE_KEY))
    return None if data is None else decode_kept_state(data)


def _stored(records: Records, tables: tuple[str, ...]) -> list[tuple[str, bytes, bytes]]:
    """Table by table, as a store reads them, by key in each."""
    rows = sorted((tables.index(table), key, value) for (table, key), value in records.items() if table in tables)
    return [(tables[place], key, value) for place, key, value in rows]


def _key(seed: int, number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=32).digest())
