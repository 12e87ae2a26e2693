"""A network in virtual time whose learners take as long as their work does: real machines, real learners, the task digits.

Each peer has a core for its event loop, one for its learner and one for its puzzles; links are those of a local network.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from consensus.types import Instant, PeerId
from learning.evolution.rules import Strategy
from learning.evolution.search import SearchSettings
from learning.learner import LearnerAnswer, SearchProgress, StepAdopted
from learning.task import Task
from node.common.goal import MetricGoal
from node.lab.faults.catalogue import ReplicaSituation, faulty_replica, parse_faults
from node.lab.faults.consensus.withheld_parts import Withholding
from node.lab.faults.faulty_learner import MakeFaultyLearner
from node.lab.simulation.disk import DiskRows, Records
from node.lab.simulation.links import ConstantLatency, Links
from node.lab.simulation.network import SimulatedNetwork
from node.lab.simulation.peer import Build, Built, SimulatedPeer
from node.lab.simulation.timeline import Prices
from node.lab.simulation.work import PricedTask, WorkClock, WorkPrices
from node.lab.studies.evolution_tasks import MeasuredOnce, studied_task
from node.processes.learner import make_learner
from node.rules.conversion import proof_of_work_rules
from node.rules.network_file import new_rules
from node.rules.network_rules import Consensus, NetworkRules, TaskSection, network_id
from node.rules.retention import PAYLOAD_COMMITS
from node.runtime.composition import NoRows, Role, RowArchive, first_requests, learner_spec, ordering_machine, replica_over
from node.runtime.coupling import OuterEffect

START = Instant(1_800_000_000_000)

LINK_MS = 1
"""One way, in a local network; the simulator knows no less but none."""

DISK_MS = 4
"""A durable write: fsync of 4 kB took 0.3 to 7 ms, 4 in the median."""

PRICES = Prices(message_us=150, byte_ns=10, signature_us=140, puzzle_us=13_000)
"""Of an event loop: `node.lab.scenarios.scenario.ProcessorSection`; a signature is verified in 138 us here."""

DIGITS = WorkPrices(sample_us=0.36, canonical_us=0.76, metrics_us=350)
"""Of the perceptron 64-64-10, CPU time of an idle core at 2.1 GHz: 64 mutations are made and measured on 128 samples in 3.0 ms,
26 entries on 1,437 in 12.5 ms; one model on 1,437 in float64 in 1.1 ms."""

PUZZLE_KIB = 8_192

HASHES_PER_SECOND = 75.0
"""Of one core: Argon2id over 8 MiB takes 13 ms (`benchmarks/puzzle.py`)."""


@dataclass(frozen=True, slots=True)
class VirtualRun:
    """One network, in values that JSON holds. Peers that misbehave are the last ones."""

    consensus: str
    peers: int
    seed: int
    strategy: str = "joint"
    fault: str = ""
    faulty: int = 0
    times: int = 1
    """So many times as long an evaluation takes as that of digits."""
    effort: int = 0
    """How many times λ mutations a list is of; 0: as many as there is time for."""
    round_interval_ms: int = 25
    is_settled: bool = False
    """Proof of work: puzzles are as hard from the first block on as the block interval asks for; else the network is new."""
    is_loss_wanted: bool = False
    """It goes on until the loss is reached, too."""
    limit_s: int = 60

    @property
    def key(self) -> str:
        """Names it."""
        return hashlib.blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=12).hexdigest()


@dataclass(slots=True)
class VirtualCurve:
    """What became of it: the first item is the first model."""

    points: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    """Virtual seconds from the start, and the figures of the model that all honest peers have reached or passed by then."""
    heights: int = 0
    candidates: int = 0
    """Ranked by all honest peers together, until then."""

    def seconds_to(self, goal: MetricGoal) -> float | None:
        """Until the last honest peer has a model that reaches it."""
        return next((at for at, figures in self.points if goal.is_reached(figures)), None)

    def steps_to(self, goal: MetricGoal) -> int | None:
        """Generations, or blocks."""
        return next((step for step, (_, figures) in enumerate(self.points) if goal.is_reached(figures)), None)


TEST = MetricGoal("test_accuracy", 0.9)
VALIDATION = MetricGoal("validation_accuracy", 0.9)
"""On 287 training samples that are held back from training."""

LOSS = MetricGoal("validation_loss", 0.3, is_lowest_best=True)


def run(wanted: VirtualRun) -> VirtualCurve:
    """Until the goals are reached, or the time is up."""
    torch.set_num_threads(1)
    return _Network(wanted).run()


class _Network:
    def __init__(self, wanted: VirtualRun) -> None:
        self._wanted = wanted
        self._goals = (TEST, VALIDATION, LOSS) if wanted.is_loss_wanted else (TEST, VALIDATION)
        self._task = MeasuredOnce(studied_task("digits"))
        keys = [_key(wanted.seed, number) for number in range(wanted.peers)]
        self._keys = {PeerId(key.public_key().public_bytes_raw()): key for key in keys}
        self._ids = tuple(self._keys)
        self._liars = self._ids[wanted.peers - wanted.faulty :]
        self._honest = self._ids[: wanted.peers - wanted.faulty]
        is_ordered = wanted.consensus == Consensus.TOTAL_ORDER
        section = TaskSection(self._task.name, self._task.data_digest.hex(), sum(block.size for block in self._task.layout))
        members = tuple(peer.hex() for peer in self._ids) if is_ordered else ()
        seed = hashlib.blake2b(f"virtual time {wanted.seed}".encode(), digest_size=32).digest()
        rules = new_rules("virtual-time", seed, section, Strategy(wanted.strategy), members=members)
        self._rules = self._paced(rules)
        self.curve = VirtualCurve()
        self._adopted: dict[PeerId, int] = dict.fromkeys(self._honest, -1)
        """By honest peer: the height of its head."""
        self._figures: dict[int, dict[str, float]] = {}
        self._tried: dict[PeerId, int] = {}
        links = Links(
            attempts_per_second=HASHES_PER_SECOND,
            latency=ConstantLatency(LINK_MS),
            disk_ms=DISK_MS,
            prices=PRICES,
            consensus=self._rules.consensus,
        )
        self._network = SimulatedNetwork(
            wanted.seed,
            self._builds(),
            links,
            START,
            watch=self._watch,
            first_requests=lambda _: first_requests(self._rules, None),
        )

    def _paced(self, rules: NetworkRules) -> NetworkRules:
        chain, wanted = rules.proof_of_work, self._wanted
        assert chain.puzzle_memory_kib == PUZZLE_KIB, "a puzzle of another price"
        if wanted.is_settled:
            attempts = round(HASHES_PER_SECOND * wanted.peers * chain.block_interval_ms / 1000)
            chain = structs.replace(chain, start_attempts=attempts)
        order = structs.replace(rules.total_order, round_interval_ms=wanted.round_interval_ms)
        return structs.replace(rules, proof_of_work=chain, total_order=order)

    def run(self) -> VirtualCurve:
        while not self._is_over:
            self._network.run_for(10)
        return self.curve

    @property
    def _is_over(self) -> bool:
        if self._network.now - START >= 1000 * self._wanted.limit_s:
            return True
        return all(self.curve.seconds_to(goal) is not None for goal in self._goals)

    def _watch(self, peer: SimulatedPeer, happening: OuterEffect | LearnerAnswer, now: Instant) -> None:
        if peer.id not in self._adopted:
            return
        if isinstance(happening, SearchProgress):
            self._tried[peer.id] = happening.candidates
        elif isinstance(happening, StepAdopted):
            self._adopted[peer.id] = happening.height
            self._figures[happening.height] = {"fitness": happening.fitness, **happening.metrics}
            while len(self.curve.points) <= min(self._adopted.values()):
                self.curve.points.append(((now - START) / 1000, self._figures[len(self.curve.points)]))
            self.curve.heights = len(self.curve.points) - 1
            self.curve.candidates = sum(self._tried.values())

    # --- one peer ---

    def _builds(self) -> Iterator[tuple[PeerId, Build]]:
        for peer in self._ids:
            yield peer, partial(self._built, peer)

    def _built(self, peer: PeerId, records: Records, guard_round: int) -> Built:
        clock, fault = WorkClock(), self._wanted.fault if peer in self._liars else ""
        role = Role(peer, self._keys[peer].sign, hashlib.blake2b(peer, digest_size=32).digest())
        machine = ordering_machine(self._rules, role, DiskRows(records), guard_round=guard_round)
        honest = replica_over(machine, self._rules, ())
        replica = faulty_replica(parse_faults(fault), honest, self._situation(peer)) if fault else honest
        times = self._wanted.times
        prices = replace(DIGITS, sample_us=times * DIGITS.sample_us, canonical_us=times * DIGITS.canonical_us)
        task: Task = PricedTask(self._task, prices, clock)
        effort = self._wanted.effort
        search = SearchSettings(effort_min=effort, effort_max=effort) if effort else SearchSettings()
        spec = replace(learner_spec(self._rules, peer, None), search=search, clock=clock)
        make = MakeFaultyLearner(fault, self._liars) if fault else make_learner
        return Built(replica, make(task, spec, RowArchive(DiskRows(records))), work=clock)

    def _situation(self, peer: PeerId) -> ReplicaSituation:
        rules, role = self._rules, Role(peer, self._keys[peer].sign, peer)
        is_ordered = rules.consensus is Consensus.TOTAL_ORDER
        return ReplicaSituation(
            identity=peer,
            network_id=network_id(rules),
            sign=self._keys[peer].sign,
            members=self._ids if is_ordered else (),
            future_limit_ms=0 if is_ordered else rules.proof_of_work.future_limit_ms,
            make_twin=lambda: replica_over(ordering_machine(rules, role, NoRows()), rules, (), PAYLOAD_COMMITS),
            withholding=Withholding(),
            work_rules=None if is_ordered else proof_of_work_rules(rules),
            gc_depth=rules.total_order.gc_depth,
        )


def _key(seed: int, number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=32).digest())
