"""From seeds to outcomes: one scenario, or many over some processes, told as they end, summed up at the end."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from node.lab.checkers.finding import Diverged, NoProgress, Pass, RunOutcome
from node.lab.checkers.rare_paths import RarePath
from node.lab.scenarios.scenario import Scenario
from node.lab.simulation.run import Simulation, without_garbage_collection
from node.lab.simulation.swarm.plan import scenario_of, title_of


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    seed: int
    title: str
    outcome: RunOutcome
    trace_digest: str
    """Equal runs have equal ones."""
    height: int
    """Of the highest head."""
    counts: Mapping[str, int]
    """How often each rare path was taken."""

    @property
    def has_passed(self) -> bool:
        """Whether there is nothing to look into."""
        return isinstance(self.outcome, Pass)


def run_seed(seed: int, *, is_brief: bool = False) -> Ended:
    """The run that the seed stands for."""
    return run_scenario(scenario_of(seed, is_brief=is_brief), seed)


def run_scenario(scenario: Scenario, seed: int) -> Ended:
    """Raises TomlProblem when the scenario contradicts itself."""
    with without_garbage_collection():
        simulation = Simulation(scenario, seed)
        outcome = simulation.run()
    height = max(simulation.checkers.progress.heights.values(), default=0)
    return Ended(seed, title_of(scenario), outcome.run_outcome, outcome.trace_digest, height, outcome.run_outcome.counts)


def lines_of(outcome: RunOutcome) -> tuple[str, ...]:
    """For people: what was found, and the part of the trace that shows it."""
    match outcome:
        case Pass():
            return ("Pass",)
        case NoProgress(detail, excerpt):
            return (f"NoProgress: {detail}", *excerpt.lines)
        case Diverged(finding, excerpt):
            return (f'Diverged: "{finding.checker}" does not hold: {finding.detail}', *excerpt.lines)


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
