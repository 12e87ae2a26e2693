"""What a node knows of its own health: event-loop lag, memory, rates, and the last things that went wrong."""

import asyncio
import resource
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from learning.learner import StepAdopted

LAG_PROBE_SECONDS = 0.05
LAG_SAMPLES_MAX = 2_400
"""Two minutes of probes: long enough for a 99th percentile, short enough to forget the start-up."""

NOTES_MAX = 32
"""Notes kept for `status`; all of them are in the log."""

ADOPTED_MAX = 128
"""Adopted steps whose figures are kept for `status`: twice the steps it lists."""

MEMORY_SECONDS = 5.0
"""Reading a process's memory map costs some milliseconds of the kernel's time."""


class Vitals:
    """What the learner says of the model, and what people should know."""

    def __init__(self) -> None:
        self.head: StepAdopted | None = None
        self.adopted: dict[bytes, StepAdopted] = {}
        self.candidates_per_second = 0.0
        self.notes: deque[str] = deque(maxlen=NOTES_MAX)

    def remember(self, adopted: StepAdopted) -> None:
        """A step has become the head."""
        self.head = adopted
        self.adopted.pop(adopted.step, None)
        self.adopted[adopted.step] = adopted
        if len(self.adopted) > ADOPTED_MAX:
            del self.adopted[next(iter(self.adopted))]


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
class Memory:
    """Memory of several processes, in MB. Pages shared between forked processes count in full in `rss`, in part in `pss`."""

    rss_mb: float
    pss_mb: float


class MemoryProbe:
    """Reads the memory of a peer's processes now and then, on a thread."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.latest: Memory | None = None

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            self.latest = await asyncio.to_thread(memory_of, self._pids)
            await asyncio.sleep(MEMORY_SECONDS)


def memory_of(pids: Sequence[int]) -> Memory:
    """Read from /proc; processes that are gone count as nothing. Without /proc only our own peak is known."""
    if not Path("/proc/self/smaps_rollup").exists():
        own_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return Memory(own_mb, own_mb)
    readings = [_smaps_rollup_kb(pid) for pid in pids]
    return Memory(sum(rss for rss, _ in readings) / 1024, sum(pss for _, pss in readings) / 1024)


def _smaps_rollup_kb(pid: int) -> tuple[int, int]:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0, 0
    values = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.startswith(("Rss:", "Pss:"))}
    return values.get("Rss", 0), values.get("Pss", 0)
