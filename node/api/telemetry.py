"""What a node knows of itself: event-loop lag, memory, rates, what became of gradients, and what went wrong lately."""

import asyncio
import math
import sys
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import psutil

from learning.learner import GenerationDecided, GenerationWaits, GradientsReport, LearnerAnswer, StepAdopted
from node.api.learning_curve import LearningCurve
from node.api.status import GradientStatus, WorkerStatus
from node.common.bounded import BoundedMap

LAG_PROBE_SECONDS = 0.05
LAG_SAMPLES_MAX = 2_400
"""Two minutes of probes: long enough for a 99th percentile, short enough to forget the start-up."""

NOTES_MAX = 32
"""Notes kept for `status`; all of them are in the log."""

ERROR_SECONDS = 30.0
"""For so long a note is shown as the last error: a peer that could not be reached once is no error for ever."""

ADOPTED_MAX = 128
"""Adopted steps whose figures are kept for `status`: twice the steps it lists."""

MEMORY_SECONDS = 5.0

LOOKS_A_MAP_MAX = 12
"""Reading a process's memory map costs the kernel 5 to 20 ms, so it is done once a minute; at first more often, since a forked
process makes most shared pages its own while it is young."""

MB = 2**20

F = TypeVar("F")


class Vitals:
    """What the learner says of the model, and what people should know."""

    def __init__(self, author: bytes) -> None:
        self._author = author
        self.head: StepAdopted | None = None
        self.decided: GenerationDecided | None = None
        self.waits: GenerationWaits | None = None
        self.generations_shared = 0
        self.gradients: GradientTally | None = None
        self.adopted: BoundedMap[bytes, StepAdopted] = BoundedMap(ADOPTED_MAX)
        self.curve = LearningCurve()
        self.candidates_per_second = 0.0
        self.task_faults = 0
        self.notes: deque[str] = deque(maxlen=NOTES_MAX)
        self._noted_at = 0.0

    def note(self, text: str, now_s: float) -> None:
        """Something that a person should know; `now_s` by a clock that never goes back."""
        self.notes.append(text)
        self._noted_at = now_s

    def last_error(self, now_s: float, connected: Collection[str]) -> str | None:
        """The newest note, unless it is old, or about an address that has been reached since (HOST:PORT of connected peers)."""
        if not self.notes or now_s - self._noted_at > ERROR_SECONDS:
            return None
        note = self.notes[-1]
        return None if any(f"{address}:" in note for address in connected) else note

    def remember(self, answer: LearnerAnswer) -> None:
        """Keep what the learner says of the model; other answers are of no concern here."""
        match answer:
            case StepAdopted():
                self._remember_head(answer)
            case GenerationDecided():
                self.decided = answer
                self.generations_shared += self._author in answer.authors
            case GenerationWaits():
                self.waits = answer
            case GradientsReport():
                self.gradients = self.gradients or GradientTally()
                self.gradients.add(answer)
            case _:
                pass

    def _remember_head(self, adopted: StepAdopted) -> None:
        figures = {name: value for name, value in adopted.metrics.items() if math.isfinite(value)}  # JSON has no others
        adopted = replace(adopted, metrics=figures)
        self.head = adopted
        self.adopted.renew(adopted.step, adopted)
        self.curve.note(adopted.height, adopted.fitness, figures)


class LagProbe:
    """Measures how late the event loop wakes a sleeper."""

    def __init__(self) -> None:
        self._samples_ms: deque[float] = deque(maxlen=LAG_SAMPLES_MAX)

    async def run(self) -> None:
        """Probe until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PROBE_SECONDS
            await asyncio.sleep(LAG_PROBE_SECONDS)
            self._samples_ms.append(max(0.0, (loop.time() - due) * 1000))

    def percentile_ms(self, share: float) -> float:
        """The lag in ms that `share` of the samples do not exceed (0 without samples)."""
        if not self._samples_ms:
            return 0.0
        ordered = sorted(self._samples_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Resident memory of several processes, in MB."""

    rss_mb: float
    """Pages that the processes share with others counted once: the private pages of all, and the most that one shares."""
    pss_mb: float
    """Pages shared with others counted in part (proportional set size)."""


class MemoryProbe:
    """Reads the memory of a peer's processes: often how much it is, seldom how much of that is shared."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.latest: MemoryUse | None = None

    async def run(self) -> None:
        """Probe until cancelled. What has come or gone since the maps were read counts as private."""
        looks = 1
        while True:
            mapped, then_mb = await asyncio.to_thread(memory_of, self._pids), resident_mb(self._pids)
            for _ in range(looks):
                grown_mb = resident_mb(self._pids) - then_mb
                self.latest = MemoryUse(mapped.rss_mb + grown_mb, mapped.pss_mb + grown_mb)
                await asyncio.sleep(MEMORY_SECONDS)
            looks = min(2 * looks, LOOKS_A_MAP_MAX)


def memory_of(pids: Sequence[int]) -> MemoryUse:
    """Read from the processes' memory maps; processes that are gone count as nothing."""
    maps = [found for pid in pids if (found := _figures(psutil.Process.memory_full_info, pid)) is not None]
    private = sum(found.uss for found in maps)
    shared = max((found.rss - found.uss for found in maps), default=0)
    in_part = sum(found.pss if sys.platform == "linux" else found.uss for found in maps)
    return MemoryUse((private + shared) / MB, in_part / MB)


def resident_mb(pids: Sequence[int]) -> float:
    """The sum of their resident sizes, shared pages counted each time: a counter of the kernel's, read in microseconds."""
    return sum(found.rss for pid in pids if (found := _figures(psutil.Process.memory_info, pid)) is not None) / MB


def _figures(question: Callable[[psutil.Process], F], pid: int) -> F | None:
    try:
        return question(psutil.Process(pid))
    except (psutil.Error, OSError):  # gone, not ours, no file descriptor left: a figure for people is no reason to stop
        return None


STALENESS_BINS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Lower ends of the histogram's bins, in versions of the model; the last one is open."""

WORKERS_MAX = 256
"""Authors counted one by one; under open membership there may be more, and these are counted together."""

OTHERS = b""


class GradientTally:
    """Counts by worker and outcome, and by staleness."""

    def __init__(self) -> None:
        self._version = 0
        self._outcomes: dict[bytes, Counter[str]] = {}
        self._accepted: Counter[bytes] = Counter()
        self._staleness: Counter[int] = Counter()
        self._weights: dict[bytes, float] = {}

    def add(self, report: GradientsReport) -> None:
        """Count the gradients of one step."""
        self._version = report.version
        if report.weights:
            self._weights = dict(report.weights)
        for judged in report.judged:
            is_counted = judged.author in self._outcomes or len(self._outcomes) < WORKERS_MAX
            author = judged.author if is_counted else OTHERS
            self._outcomes.setdefault(author, Counter())[judged.outcome] += 1
            self._accepted[author] += judged.is_accepted
            if judged.staleness is not None:
                self._staleness[max(low for low in STALENESS_BINS if low <= max(0, judged.staleness))] += 1

    def status(self) -> GradientStatus:
        """As `status` shows it; workers ascending by id."""
        workers = tuple(
            WorkerStatus(
                peer_id=author.hex(),
                delivered=outcomes.total(),
                accepted=self._accepted[author],
                outcomes=dict(sorted(outcomes.items())),
                weight=self._weights.get(author, 0.0),
            )
            for author, outcomes in sorted(self._outcomes.items())
        )
        return GradientStatus(self._version, workers, {str(low): self._staleness[low] for low in STALENESS_BINS})
