"""A scenario as real processes can play it: what only a simulator can do is refused."""

from collections.abc import Iterator
from pathlib import Path

from node.common.errors import MEND_FILE, NodeError
from node.lab.scenarios.scenario import LinksSection, Scenario
from node.lab.scenarios.scenario_check import check, unplayable, warnings
from node.lab.scenarios.scenario_file import read_scenario
from node.lab.testnet.checks import SIMULATED
from node.rules.typed_toml import TomlProblem

PEERS_MAX = 64
"""Each peer is three processes and 50 to 100 MB of its own."""


def read_script(path: Path) -> Scenario:
    """The scenario in a file. Raises NodeError where it contradicts itself, or asks for what real processes cannot do."""
    scenario = read_scenario(path)
    try:
        check(scenario)
        for problem in _misfits(scenario):
            raise TomlProblem(problem)
    except TomlProblem as problem:
        raise NodeError(f"{path}: {problem}", MEND_FILE) from problem
    return scenario


def remarks(scenario: Scenario) -> tuple[str, ...]:
    """What is allowed, and may surprise."""
    return (*warnings(scenario), *_unheeded(scenario))


def _misfits(scenario: Scenario) -> Iterator[str]:
    if scenario.peers > PEERS_MAX:
        yield f"peers is {scenario.peers}; allowed is 1 to {PEERS_MAX} on real processes"
    yield from unplayable(scenario, SIMULATED, "can only be simulated", "on real processes")


def _unheeded(scenario: Scenario) -> Iterator[str]:
    """Settings of the simulator that were given."""
    given = [name for name in LinksSection.__struct_fields__ if getattr(scenario.links, name) != getattr(LinksSection(), name)]
    if given:
        yield f"[links] is for the simulator: {', '.join(given)} change nothing here; links, disks and processors are real"
    if scenario.snapshot_behind:
        yield "snapshot_behind is for the simulator: real peers start from a checkpoint when they lag by far more"
    if not scenario.are_checked:
        yield "are_checked is for the simulator: real stores are always read"
