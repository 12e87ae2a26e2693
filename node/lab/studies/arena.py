"""A gradient network in virtual time: real tasks, workers, faults, aggregator, rule; only the order is a queue of one process.

Equal settings give equal runs on one machine.
"""

import hashlib
import heapq
import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from consensus.total_order.committee import faulty_max
from learning.aggregation.quantised import decode_gradient, payload_digest
from learning.aggregation.rule import AggregationRule, GradientOutcome, Workers
from learning.exact import first_weights, stream_key
from learning.gradient.ledger import (
    AggregationState,
    Aggregator,
    GradientSubmission,
    Judged,
    LedgerRules,
    encode_submission,
    first_ledger,
)
from learning.gradient.worker import WorkerSettings
from learning.learner import AuthoredPayload
from learning.task import DifferentiableTask, Float32Array
from learning.tasks.shards import OwnSamples, Shards, rows_for
from node.lab.faults.catalogue import FaultSpec, Situation, make_conduct
from node.lab.faults.gradient.conduct import Conduct, HonestConduct
from node.lab.faults.gradient.lying_learner import LyingWorker

MEASURED_EVERY = 50
"""Deliveries between two measurements of the test accuracy."""

MEASURED_EARLY_EVERY = 5
"""The same until the goal is reached, for a fair count of deliveries."""

JITTER = 0.1
"""Equal peers: how much the duration of a computation varies, either way."""

PAST_KEPT = 64
"""Models kept for drawn staleness: twelve standard deviations above the larger mean drawn."""


@dataclass(frozen=True, slots=True)
class ArenaSettings:
    """One run."""

    rule: AggregationRule
    learning_rate: np.float32
    shards: Shards
    workers: int = 16
    faulty_max: int | None = None
    """f as the rule is told it; None: as many as its workers can have."""
    deliveries: int = 2_000
    seed: int = 0
    speed_sigma: float = 0.0
    """Of the logarithm of a worker's duration of one computation, in turns; 0: all equal but for JITTER."""
    staleness_max: int = 1_000
    goal: float = 0.9
    """The accuracy to be reached."""
    fault: FaultSpec | None = None
    liars: int = 0
    """The last so many workers, by number."""
    lies_from: int = 0
    """The delivery from which on they lie."""
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    drawn_staleness: tuple[float, float] | None = None
    """Mean and spread of a normal draw: each gradient is computed on so old a model, instead of the newest at its start."""


@dataclass(slots=True)
class ArenaRun:
    """What a run did."""

    accuracy: list[tuple[int, float]] = field(default_factory=list)
    """(deliveries, test accuracy as a share)."""
    deliveries_to_goal: int | None = None
    time_to_goal: float | None = None
    """In turns of the median worker."""
    outcomes: Counter[tuple[int, GradientOutcome]] = field(default_factory=Counter)
    """By the author's number."""
    staleness: Counter[int] = field(default_factory=Counter)
    parameters: Float32Array = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    version: int = 0

    @property
    def last_accuracy(self) -> float:
        """At the end."""
        return self.accuracy[-1][1]


class ArenaPayloads:
    """Payloads beside the order: what is delivered is held."""

    def __init__(self) -> None:
        self._held: dict[bytes, bytes] = {}

    def put(self, payload: bytes) -> bytes:
        """Its digest."""
        digest = payload_digest(payload)
        self._held = {digest: payload}
        return digest

    def payload(self, digest: bytes) -> bytes | None:
        """Only the newest is asked for."""
        return self._held.get(digest)


@dataclass(frozen=True, slots=True, order=True)
class _Event:
    """`payload`: one to be delivered; none: the worker has finished its computation."""

    time: float
    number: int
    worker: int
    payload: bytes | None = None


class Arena:
    """One run of `settings` on a task."""

    def __init__(self, task: DifferentiableTask, settings: ArenaSettings) -> None:
        self._task = task
        self._settings = settings
        self._random = np.random.default_rng(settings.seed)
        self._ids = tuple(_worker_id(number, settings.seed) for number in range(settings.workers))
        self._number = {identity: number for number, identity in enumerate(self._ids)}
        tolerated = faulty_max(settings.workers) if settings.faulty_max is None else settings.faulty_max
        self._group = Workers(tuple(sorted(self._ids)), tolerated)
        self._aggregator = Aggregator(task.layout, LedgerRules(settings.learning_rate, settings.staleness_max), settings.rule)
        first = first_weights(stream_key(b"kubrat/arena/1", settings.seed.to_bytes(8, "little")), task.layout)
        first.setflags(write=False)
        self._ledger = first_ledger(first, settings.rule)
        self._workers = [self._worker(number) for number in range(settings.workers)]
        self._faulty = self._faulty_conducts()
        self._durations = np.exp(settings.speed_sigma * self._random.standard_normal(settings.workers))
        self._started: list[AggregationState] = [self._ledger] * settings.workers
        self._past: deque[AggregationState] = deque([self._ledger], maxlen=PAST_KEPT)
        self._payloads = ArenaPayloads()
        self._events: list[_Event] = []
        self._event_count = 0
        self._delivered = 0
        self._trace = ArenaRun()

    def run(self) -> ArenaRun:
        """Until as many gradients are delivered as the settings say."""
        self._measure(0.0)
        for number in range(self._settings.workers):
            self._push(self._duration(number) * self._random.random(), number)
        while self._delivered < self._settings.deliveries:
            event = heapq.heappop(self._events)
            if event.payload is None:
                self._finish(event)
            else:
                self._deliver(event.worker, event.payload, event.time)
        self._trace.parameters, self._trace.version = self._ledger.parameters, self._ledger.version
        return self._trace

    # --- workers ----------------------------------------------------------------------------------------------------

    def _worker(self, number: int) -> LyingWorker:
        settings = self._settings
        seed = hashlib.blake2b(f"{settings.seed}".encode(), digest_size=32).digest()
        rows = rows_for(self._task.sample_labels, settings.shards, settings.workers, number, seed)
        samples = OwnSamples(self._task, rows, self._ids[number])
        return LyingWorker(self._task, samples, settings.worker, HonestConduct())

    def _faulty_conducts(self) -> Mapping[int, Conduct]:
        settings = self._settings
        if settings.fault is None:
            return {}
        numbers = range(settings.workers - settings.liars, settings.workers)
        colluders = frozenset(self._ids[number] for number in numbers)
        classes = int(self._task.sample_labels.max()) + 1
        return {
            number: make_conduct(
                settings.fault,
                Situation(self._ids[number], colluders, self._task.layout, classes, settings.seed * 1_000 + number),
            )
            for number in numbers
        }

    def _duration(self, number: int) -> float:
        jitter = 1 + JITTER * (2 * self._random.random() - 1)
        return float(self._durations[number]) * jitter

    def _push(self, time: float, number: int, payload: bytes | None = None) -> None:
        self._event_count += 1
        heapq.heappush(self._events, _Event(time, self._event_count, number, payload))

    def _finish(self, event: _Event) -> None:
        """The worker delivers what it has computed, and starts anew on the newest model; several spread over its turn."""
        number, worker = event.worker, self._workers[event.worker]
        if number in self._faulty and self._delivered >= self._settings.lies_from:
            worker.conduct = self._faulty[number]
        if self._settings.drawn_staleness is not None:
            self._started[number] = self._draw_base(*self._settings.drawn_staleness)
        payloads = worker.compute(self._started[number].parameters)
        duration = self._duration(number)
        if payloads:
            self._deliver(number, payloads[0], event.time)
        for position, payload in enumerate(payloads[1:], start=1):
            self._push(event.time + duration * position / len(payloads), number, payload)
        self._started[number] = self._ledger
        self._push(event.time + duration, number)

    def _draw_base(self, mean: float, spread: float) -> AggregationState:
        """A model as old as a rounded normal draw says, or the oldest that is known."""
        drawn = max(0, round(self._random.normal(mean, spread)))
        return self._past[-1 - min(drawn, len(self._past) - 1)]

    # --- the order --------------------------------------------------------------------------------------------------

    def _deliver(self, number: int, payload: bytes, time: float) -> None:
        base = self._ledger if self._workers[number].conduct.names_newest_model else self._started[number]
        digest = self._payloads.put(payload)
        submission = GradientSubmission(base.version, base.digest, digest, len(payload))
        author, attached = self._ids[number], ((digest, len(payload)),)
        delivered = AuthoredPayload(digest, author, base.digest, encode_submission(submission), attached)
        version = self._ledger.version
        self._ledger, judged = self._aggregator.advance(self._ledger, delivered, self._group, self._payloads)
        self._delivered += 1
        if self._ledger.version != version:
            self._past.append(self._ledger)
        self._trace.outcomes[number, judged.outcome] += 1
        if judged.staleness is not None:
            self._trace.staleness[judged.staleness] += 1
        self._tell(number, judged, payload)
        self._measure(time)

    def _tell(self, author: int, judged: Judged, payload: bytes) -> None:
        """The liars hear what the others deliver."""
        is_gradient = judged.was_read and judged.outcome is not GradientOutcome.MALFORMED
        if not is_gradient or not self._faulty or author in self._faulty:
            return
        gradient = decode_gradient(payload, self._task.layout, self._aggregator.bits).dense()
        for conduct in self._faulty.values():
            conduct.on_gradient(self._ids[author], gradient)

    def _measure(self, time: float) -> None:
        is_due = self._delivered % MEASURED_EVERY == 0 or self._delivered == self._settings.deliveries
        is_early = self._trace.deliveries_to_goal is None and self._delivered % MEASURED_EARLY_EVERY == 0
        if not (is_due or is_early):
            return
        accuracy = self._task.metrics(self._ledger.parameters)["test_accuracy"]
        if math.isfinite(accuracy) and accuracy >= self._settings.goal and self._trace.deliveries_to_goal is None:
            self._trace.deliveries_to_goal, self._trace.time_to_goal = self._delivered, time
        if is_due:
            self._trace.accuracy.append((self._delivered, accuracy))


def _worker_id(number: int, seed: int) -> bytes:
    return hashlib.blake2b(f"arena worker {number} of {seed}".encode(), digest_size=32).digest()
