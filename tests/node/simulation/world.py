"""Peers for the virtual-time network: the real machine and the real learner, on a task that takes microseconds."""

import hashlib
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.proof_of_work.header import genesis_id
from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.total_order.machine import TotalOrder, TotalOrderRules
from consensus.types import Instant, NetworkId, PeerId, StepId
from learning.checkpoint import decode_kept_state
from learning.evolution.learner import EvolutionLearner
from learning.evolution.rules import EvolutionRules, SearchSettings
from learning.evolution.slate_learner import SlateLearner
from learning.learner import Learner
from node.replica import STATE_KEY, STATE_TABLE, Replica
from node.simulation.network import Build, Links, Records, SimulatedNetwork
from tests.learning.sphere import SphereTask

NETWORK = NetworkId(hashlib.blake2b(b"simulated network", digest_size=32).digest())
START = Instant(1_800_000_000_000)

WORK = ProofOfWorkRules(
    block_interval_ms=1_000,
    start_attempts=100,
    puzzle_memory_kib=8,
    half_life_blocks=30,
    finality_depth=12,
    contest_depth=4,
    future_limit_ms=5_000,
)
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


def simulated_network(peers: int, seed: int, links: Links | None = None) -> SimulatedNetwork:
    """A full mesh of `peers`; everything in it follows from the seed."""
    keys = [_key(seed, number) for number in range(peers)]
    builds = [(_peer_id(key), partial(_build, key)) for key in keys]
    return SimulatedNetwork(seed, builds, links or Links(attempts_per_second=100 / peers), START)


def simulated_members(members: int, seed: int, links: Links | None = None, snapshot_behind: int = 2_000) -> SimulatedNetwork:
    """A total order among `members`, at 20 rounds a second or slower."""
    keys = [_key(seed, number) for number in range(members)]
    committee = tuple(_peer_id(key) for key in keys)
    builds = [(_peer_id(key), partial(_build_member, key, committee, snapshot_behind)) for key in keys]
    return SimulatedNetwork(seed, builds, links or Links(), START)


def _build_member(
    key: Ed25519PrivateKey, committee: tuple[PeerId, ...], snapshot_behind: int, records: Records, guard_round: int
) -> tuple[Replica, Learner]:
    kept = records.get((STATE_TABLE, STATE_KEY))
    restored = None if kept is None else decode_kept_state(kept)
    machine = TotalOrder(
        rules=TotalOrderRules(gc_depth=10, round_interval_ms=50),
        network_id=NETWORK,
        members=committee,
        identity=_peer_id(key),
        sign=key.sign,
        seed=hashlib.blake2b(_peer_id(key), digest_size=32).digest(),
        records=[(table, name, value) for (table, name), value in sorted(records.items()) if table != STATE_TABLE],
        archive=MemoryRows(records),
        guard_round=guard_round,
        replay_from=None if restored is None else StepId(restored.commit_step),
        snapshot_behind=snapshot_behind,
    )
    learner = SlateLearner(
        SphereTask(),
        EVOLUTION,
        NETWORK,
        _peer_id(key),
        committee,
        genesis_id(NETWORK),
        SearchSettings(chunk=16),
        restored,
    )
    return Replica(machine, NETWORK), learner


class MemoryRows:
    """Reads any row back from a simulated disk."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def value(self, table: str, key: bytes) -> bytes | None:
        return self._records.get((table, key))


def _key(seed: int, number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=32).digest())


def _peer_id(key: Ed25519PrivateKey) -> PeerId:
    return PeerId(key.public_key().public_bytes_raw())


def _build(key: Ed25519PrivateKey, records: Records, guard_round: int) -> tuple[Replica, Learner]:
    kept = records.get((STATE_TABLE, STATE_KEY))
    restored = None if kept is None else decode_kept_state(kept)
    machine = ProofOfWork(
        rules=WORK,
        network_id=NETWORK,
        identity=_peer_id(key),
        sign=key.sign,
        seed=hashlib.blake2b(_peer_id(key), digest_size=32).digest(),
        records=[(table, name, value) for (table, name), value in sorted(records.items()) if table != STATE_TABLE],
        archive=MemoryArchive(records),
        replay_from=None if restored is None else StepId(restored.step),
    )
    learner = EvolutionLearner(
        SphereTask(), EVOLUTION, NETWORK, _peer_id(key), genesis_id(NETWORK), SearchSettings(chunk=16), restored
    )
    return Replica(machine, NETWORK), learner


__all__ = ["EVOLUTION", "START", "WORK", "Build", "simulated_members", "simulated_network"]
