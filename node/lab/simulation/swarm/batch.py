"""Many seeds, over some processes: told as they end, summed up at the end."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from node.lab.checkers.rare_path import RarePath
from node.lab.simulation.swarm.run import Ended, run_seed


@dataclass
class Summary:
    """What a batch has gone through."""

    runs: int = 0
    failed: list[Ended] = field(default_factory=list)
    runs_with: Counter[str] = field(default_factory=Counter)
    """By rare path: in how many runs it was taken."""

    def add(self, ended: Ended) -> None:
        """One more run."""
        self.runs += 1
        self.runs_with.update(ended.counts.keys())
        if not ended.has_passed:
            self.failed.append(ended)

    @property
    def never_taken(self) -> tuple[RarePath, ...]:
        """Rare paths that no run took: what the batch says nothing about."""
        return tuple(path for path in RarePath if not self.runs_with[path.value])


def run_batch(seeds: Iterable[int], processes: int, tell: Callable[[Ended], None], *, is_brief: bool = False) -> Summary:
    """Each seed's end is told in the order of the seeds, whatever the processes do."""
    summary = Summary()
    for ended in _ends(list(seeds), processes, is_brief):
        summary.add(ended)
        tell(ended)
    return summary


def replay_command(seed: int, *, is_brief: bool = False) -> str:
    """What people type to see a run again."""
    return f"python -m node.lab.simulation.swarm --first {seed} --seeds 1{' --brief' if is_brief else ''}"


def _ends(seeds: list[int], processes: int, is_brief: bool) -> Iterator[Ended]:
    run = partial(run_seed, is_brief=is_brief)
    if processes == 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(run, seeds)
