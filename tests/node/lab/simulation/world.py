"""Peers for the virtual-time network: the real machine and the real learner, on a task that takes microseconds."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.steps import genesis_step
from consensus.total_order.machine import TotalOrder, TotalOrderRules
from consensus.types import Digest, Instant, NetworkId, PeerId, StepId
from learning.evolution.generations import Generations
from learning.evolution.learner import EvolutionLearner
from learning.evolution.mutation_candidates import MutationCandidates
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import SearchSettings
from learning.following.line import LineLearner
from learning.gradient.block_learner import BlockLearner
from learning.gradient.ledger import Gradients
from learning.gradient.rules import GradientRules
from learning.gradient.stream import GradientStream
from learning.gradient.worker import MakeWorker, Worker
from learning.learner import Learner, Participant, StateKept
from learning.state import decode_kept_state
from learning.tasks.shards import OwnSamples
from node.lab.faults.gradient.conduct import Conduct
from node.lab.faults.gradient.lying_learner import Liar
from node.lab.simulation.network import Build, Links, Records, SimulatedNetwork
from node.lab.simulation.peer import Built
from node.rules.retention import PAYLOAD_COMMITS
from node.runtime.coupling import Coupling
from node.storage.tables import CHECKPOINT_DIGEST_TABLE, PAYLOAD_TABLE, STATE_KEY, STATE_TABLE
from tests.consensus.proof_of_work.forge import RULES
from tests.learning.gradient.quadratic import QuadraticTask
from tests.learning.sphere import SphereTask

Liars = Mapping[int, Conduct]

MakeMember = Callable[[tuple[PeerId, ...], PeerId, Records, StateKept | None], Learner]

NOT_OF_THE_ORDER = (STATE_TABLE, PAYLOAD_TABLE, CHECKPOINT_DIGEST_TABLE)
"""Tables that the ordering machine is not handed."""

NETWORK = NetworkId(hashlib.blake2b(b"simulated network", digest_size=32).digest())
START = Instant(1_800_000_000_000)

WORK = structs.replace(RULES, start_attempts=100, future_limit_ms=5_000)
EVOLUTION = EvolutionRules(
    offspring=16,
    recipe_length_max=1,
    step_size="0.05",
    step_size_factor="0.99",
    step_size_floor="0.005",
    fitness_tolerance=10,
    regression_allowed=0,
)


class MemoryArchive:
    """Reads blocks back from a simulated disk."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def block(self, key: bytes) -> bytes | None:
        return self._records.get(("block", key))


MakeLearner = Callable[[PeerId, Records, StateKept | None], Learner]
"""A learner from its author, its peer's disk and the state that it kept."""


def simulated_network(peers: int, seed: int, links: Links | None = None) -> SimulatedNetwork:
    """A full mesh of `peers`; everything in it follows from the seed."""
    return _mesh(peers, seed, links, _searcher, WORK)


def simulated_late(peers: int, seed: int, rules: ProofOfWorkRules, first: int) -> tuple[SimulatedNetwork, tuple[PeerId, ...]]:
    """A full mesh in which only the `first` peers are there from the start; their ids, in order."""
    keys = [key_of(seed, number) for number in range(peers)]
    ids = tuple(_peer_id(key) for key in keys)
    builds = [(peer, partial(_build, key, _searcher, rules)) for peer, key in zip(ids, keys, strict=True)]
    return SimulatedNetwork(seed, builds, Links(attempts_per_second=200), START, late=ids[first:]), ids


def simulated_leaders(peers: int, seed: int, rules: GradientRules, liars: Liars | None = None) -> SimulatedNetwork:
    """Learning by gradients, ordered by the leaders' blocks. `liars`: the conduct of some peers, by their number."""
    make = partial(_block_learner, rules, _conducts(peers, seed, liars))
    return _mesh(
        peers, seed, None, make, structs.replace(WORK, base_age_max=WORK.finality_depth, author_window=rules.workers_window)
    )


def _mesh(peers: int, seed: int, links: Links | None, make: MakeLearner, rules: ProofOfWorkRules) -> SimulatedNetwork:
    keys = [key_of(seed, number) for number in range(peers)]
    builds = [(_peer_id(key), partial(_build, key, make, rules)) for key in keys]
    return SimulatedNetwork(seed, builds, links or Links(attempts_per_second=100 / peers), START)


def simulated_members(members: int, seed: int, links: Links | None = None, snapshot_behind: int = 2_000) -> SimulatedNetwork:
    """A total order among `members`, at 20 rounds a second or slower."""
    return _committee(members, seed, links, snapshot_behind, _slate_learner)


def simulated_workers(
    members: int,
    seed: int,
    rules: GradientRules,
    liars: Liars | None = None,
    snapshot_behind: int = 2_000,
    *,
    payload_commits: int = PAYLOAD_COMMITS,
    links: Links | None = None,
) -> SimulatedNetwork:
    """Learning by gradients in a total order. `liars`: the conduct of some members, by their number."""
    conducts = _conducts(members, seed, liars)

    def make(committee: tuple[PeerId, ...], author: PeerId, records: Records, restored: StateKept | None) -> Learner:
        task = QuadraticTask()

        def learner(gradients: Gradients, make_worker: MakeWorker) -> Learner:
            rows = OwnSamples(task, np.arange(len(task.sample_labels)), author)
            participant = Participant(NETWORK, author, genesis_step(NETWORK), committee)
            return LineLearner(GradientStream(task, rules, participant, gradients, rows, make_worker), restored)

        return _with_conduct(conducts.get(author), author, rules, records, learner)

    return _committee(members, seed, links, snapshot_behind, make, payload_commits)


def _conducts(peers: int, seed: int, liars: Liars | None) -> dict[PeerId, Conduct]:
    return {_peer_id(key_of(seed, number)): (liars or {})[number] for number in range(peers) if number in (liars or {})}


def _committee(  # noqa: PLR0917 - each is another thing
    members: int,
    seed: int,
    links: Links | None,
    snapshot_behind: int,
    make: MakeMember,
    payload_commits: int = PAYLOAD_COMMITS,
) -> SimulatedNetwork:
    keys = [key_of(seed, number) for number in range(members)]
    committee = tuple(_peer_id(key) for key in keys)
    builds = [(_peer_id(key), partial(_build_member, key, committee, snapshot_behind, make, payload_commits)) for key in keys]
    return SimulatedNetwork(seed, builds, links or Links(), START)


def _build_member(  # noqa: PLR0917 - all but the last two are bound when the network is made
    key: Ed25519PrivateKey,
    committee: tuple[PeerId, ...],
    snapshot_behind: int,
    make: MakeMember,
    payload_commits: int,
    records: Records,
    guard_round: int,
) -> Built:
    kept = records.get((STATE_TABLE, STATE_KEY))
    restored = None if kept is None else decode_kept_state(kept)
    machine = TotalOrder(
        rules=TotalOrderRules(gc_depth=10, round_interval_ms=50),
        network_id=NETWORK,
        members=committee,
        identity=_peer_id(key),
        sign=key.sign,
        seed=hashlib.blake2b(_peer_id(key), digest_size=32).digest(),
        records=[(table, name, value) for (table, name), value in sorted(records.items()) if table not in NOT_OF_THE_ORDER],
        archive=MemoryRows(records),
        guard_round=guard_round,
        replay_from=None if restored is None else StepId(restored.commit_step),
        snapshot_behind=snapshot_behind,
    )
    return Built(
        Coupling(machine, NETWORK, held_on(records), payload_commits), make(committee, _peer_id(key), records, restored)
    )


def _slate_learner(committee: tuple[PeerId, ...], author: PeerId, _records: Records, restored: StateKept | None) -> Learner:
    participant = Participant(NETWORK, author, genesis_step(NETWORK), committee)
    mutations = MutationCandidates(SphereTask(), EVOLUTION, participant, SearchSettings(chunk=16))
    return LineLearner(Generations(mutations, participant), restored)


def _searcher(author: PeerId, _records: Records, restored: StateKept | None) -> Learner:
    participant = Participant(NETWORK, author, genesis_step(NETWORK))
    return EvolutionLearner(SphereTask(), EVOLUTION, participant, SearchSettings(chunk=16), restored)


def _block_learner(
    rules: GradientRules, conducts: dict[PeerId, Conduct], author: PeerId, records: Records, restored: StateKept | None
) -> Learner:
    task = QuadraticTask()

    def learner(gradients: Gradients, make_worker: MakeWorker) -> Learner:
        rows = OwnSamples(task, np.arange(len(task.sample_labels)), author)
        participant = Participant(NETWORK, author, genesis_step(NETWORK))
        return BlockLearner(task, rules, participant, gradients, rows, restored, make_worker)

    return _with_conduct(conducts.get(author), author, rules, records, learner)


def _with_conduct(
    conduct: Conduct | None,
    author: PeerId,
    rules: GradientRules,
    records: Records,
    make: Callable[[Gradients, MakeWorker], Learner],
) -> Learner:
    payloads = DiskPayloads(records)
    if conduct is None:
        return make(payloads, Worker)
    return Liar(author, conduct, QuadraticTask().layout, rules.bits).learner(payloads, make)


class DiskPayloads:
    """Reads large payloads from a simulated disk."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def payload(self, digest: bytes) -> bytes | None:
        return self._records.get((PAYLOAD_TABLE, digest))


class MemoryRows:
    """Reads any row back from a simulated disk."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def value(self, table: str, key: bytes) -> bytes | None:
        return self._records.get((table, key))


def key_of(seed: int, number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=32).digest())


def _peer_id(key: Ed25519PrivateKey) -> PeerId:
    return PeerId(key.public_key().public_bytes_raw())


def _build(key: Ed25519PrivateKey, make: MakeLearner, rules: ProofOfWorkRules, records: Records, guard_round: int) -> Built:
    assert guard_round == 0, "proof of work guards no round"
    kept = records.get((STATE_TABLE, STATE_KEY))
    restored = None if kept is None else decode_kept_state(kept)
    machine = ProofOfWork(
        rules=rules,
        network_id=NETWORK,
        identity=_peer_id(key),
        sign=key.sign,
        seed=hashlib.blake2b(_peer_id(key), digest_size=32).digest(),
        records=[(table, name, value) for (table, name), value in sorted(records.items()) if table not in NOT_OF_THE_ORDER],
        archive=MemoryArchive(records),
        replay_from=None if restored is None else StepId(restored.step),
    )
    return Built(Coupling(machine, NETWORK, held_on(records)), make(_peer_id(key), records, restored))


def held_on(records: Records) -> list[Digest]:
    """The large payloads on a simulated disk."""
    return [Digest(row) for table, row in records if table == PAYLOAD_TABLE]


__all__ = [
    "EVOLUTION",
    "START",
    "WORK",
    "Build",
    "simulated_late",
    "simulated_leaders",
    "simulated_members",
    "simulated_network",
    "simulated_workers",
]
