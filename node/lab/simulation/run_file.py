"""A scenario file from its reading to what is told of it: what the command `simulate` calls."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from node.common.errors import EXIT_DISAGREEMENT, MEND_FILE, NodeError
from node.lab.scenarios.scenario import Scenario
from node.lab.scenarios.scenario_check import warnings
from node.lab.scenarios.scenario_file import read_scenario
from node.lab.simulation import report
from node.lab.simulation.report import Json
from node.lab.simulation.run import Simulation, without_garbage_collection
from node.lab.simulation.trace import Sink, lines_into
from node.rules.typed_toml import TomlProblem


@dataclass(frozen=True, slots=True)
class Result:
    """What is told of a run. `document`: for programs; `lines`: for people."""

    exit_code: int
    document: dict[str, Json]
    lines: tuple[str, ...]

    def compared(self, other_trace: str) -> "Result":
        """With what a repeated run had for a trace."""
        is_same = self.document["trace"] == other_trace
        told = "the repeated run has the same trace" if is_same else f"the repeated run has another trace: {other_trace}"
        return replace(
            self,
            exit_code=self.exit_code if is_same else EXIT_DISAGREEMENT,
            document={**self.document, "repeated_trace": other_trace},
            lines=(*self.lines, told),
        )


def run_file(path: Path, seed: int, trace_file: Path | None, tell: Callable[[int, int], None]) -> Result:
    """Run the scenario in the file, its trace into `trace_file`. Raises NodeError.

    `tell` hears the virtual ms passed, and how many there are.
    """
    scenario = read_scenario(path)
    with lines_into(trace_file) as sink:
        simulation = _simulation(path, scenario, seed, sink)
        begun = time.monotonic()
        with without_garbage_collection():
            outcome = simulation.run(lambda passed_ms: tell(passed_ms, scenario.duration_ms))
        wall_s = time.monotonic() - begun
    loud = warnings(scenario)
    return Result(
        exit_code=report.exit_code(outcome.verdict),
        document=report.document(scenario, seed, outcome, loud),
        lines=(*(f"WARNING: {line}" for line in loud), *report.lines(path, seed, outcome, wall_s)),
    )


def _simulation(path: Path, scenario: Scenario, seed: int, sink: Sink | None) -> Simulation:
    """Raises NodeError where the scenario contradicts itself, or its sections the rules of a network."""
    try:
        return Simulation(scenario, seed, sink)
    except TomlProblem as problem:
        raise NodeError(f"{path}: {problem}", MEND_FILE) from problem
