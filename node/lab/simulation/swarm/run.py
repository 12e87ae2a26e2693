"""One scenario from its start to its verdict."""

from collections.abc import Mapping
from dataclasses import dataclass

from node.lab.checkers.finding import Diverged, NoProgress, Pass, RunOutcome
from node.lab.scenarios.scenario import Scenario
from node.lab.simulation.run import Simulation, without_garbage_collection
from node.lab.simulation.swarm.plan import scenario_of, title_of


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    seed: int
    title: str
    verdict: RunOutcome
    trace_digest: str
    """Equal runs have equal ones."""
    height: int
    """Of the highest head."""
    counts: Mapping[str, int]
    """How often each rare path was taken."""

    @property
    def has_passed(self) -> bool:
        """Whether there is nothing to look into."""
        return isinstance(self.verdict, Pass)


def run_seed(seed: int, *, is_brief: bool = False) -> Ended:
    """The run that the seed stands for."""
    return run_scenario(scenario_of(seed, is_brief=is_brief), seed)


def run_scenario(scenario: Scenario, seed: int) -> Ended:
    """Raises TomlProblem when the scenario contradicts itself."""
    with without_garbage_collection():
        simulation = Simulation(scenario, seed)
        outcome = simulation.run()
    height = max(simulation.checkers.progress.heights.values(), default=0)
    return Ended(seed, title_of(scenario), outcome.verdict, outcome.trace_digest, height, outcome.verdict.counts)


def lines_of(verdict: RunOutcome) -> tuple[str, ...]:
    """For people: what was found, and the part of the trace that shows it."""
    match verdict:
        case Pass():
            return ("Pass",)
        case NoProgress(detail, excerpt):
            return (f"NoProgress: {detail}", *excerpt.lines)
        case Diverged(finding, excerpt):
            return (f'Diverged: "{finding.checker}" does not hold: {finding.detail}', *excerpt.lines)
