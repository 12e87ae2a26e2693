"""Where a peer's time goes: what its learner does with its own, and what its processes have taken of the processor."""

import time
from collections import deque
from collections.abc import Sequence

import psutil

from node.api.status import LearnerTime, ProcessorTime
from node.processes.effort import LearnerEffort

MINUTE_SECONDS = 60.0

SAMPLES_MAX = 64
"""A learner tells of its effort once a second at most."""


class EffortTally:
    """What the learner has told of its time. `now_s`: by a clock that never goes back."""

    def __init__(self, now_s: float) -> None:
        self._samples: deque[tuple[float, LearnerEffort]] = deque([(now_s, LearnerEffort())], maxlen=SAMPLES_MAX)
        self._started_s = now_s

    def add(self, effort: LearnerEffort, now_s: float) -> None:
        """The newest sums."""
        self._samples.append((now_s, effort))

    def since_start(self, now_s: float) -> LearnerTime:
        """Shares of all the time."""
        return _shares(self._started_s, LearnerEffort(), self._samples[-1][1], now_s)

    def last_minute(self, now_s: float) -> LearnerTime:
        """Shares of the last minute: from the newest sums that are as old, where any are."""
        older = [sample for sample in self._samples if now_s - sample[0] >= MINUTE_SECONDS]
        since_s, before = older[-1] if older else self._samples[0]
        return _shares(max(since_s, now_s - MINUTE_SECONDS), before, self._samples[-1][1], now_s)


def _shares(since_s: float, before: LearnerEffort, after: LearnerEffort, now_s: float) -> LearnerTime:
    elapsed_s = max(now_s - since_s, after.busy_s - before.busy_s)
    if elapsed_s <= 0:
        return LearnerTime(0.0, 0.0, 0.0, 1.0)
    busy = (after.busy_s - before.busy_s) / elapsed_s
    ranking, scoring = (after.ranking_s - before.ranking_s) / elapsed_s, (after.scoring_s - before.scoring_s) / elapsed_s
    return LearnerTime(round(busy, 4), round(ranking, 4), round(scoring, 4), round(1 - busy, 4))


def processor_time(writer: int | None, workers: Sequence[int]) -> ProcessorTime:
    """Of this process, of its thread `writer` (`threading.Thread.ident`), which must live, and of the worker processes."""
    store_s = 0.0 if writer is None else time.clock_gettime(time.pthread_getcpuclockid(writer))
    return ProcessorTime(round(time.process_time(), 3), round(store_s, 3), round(sum(map(_seconds_of, workers)), 3))


def _seconds_of(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:  # gone: a figure for people is no reason to stop
        return 0.0
    return times.user + times.system
