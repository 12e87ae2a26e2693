"""A scenario as real processes can play it: what only a simulator can do is refused, and events become commands."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from node.common.errors import MEND_FILE, NodeError
from node.lab.scenarios.scenario import Event, EventKind, LinksSection, Scenario
from node.lab.scenarios.scenario_check import check, warnings
from node.lab.scenarios.scenario_file import read_scenario
from node.lab.testnet.commands import (
    BackUp,
    Command,
    Heal,
    Kill,
    Misbehave,
    Partition,
    Pause,
    Restart,
    RestoreOldDisk,
    Resume,
    Wipe,
)
from node.rules.typed_toml import TomlProblem

PEERS_MAX = 64
"""Each peer is three processes and 50 to 100 MB of its own."""

_SIMULATED = {
    EventKind.KILL_AT: "no process can be ended between two chosen effects",
    EventKind.CUT: "a partition of processes holds in both directions; take partition",
    EventKind.RESET: "the connections of a process are its own",
    EventKind.DISK_FULL: "all peers share this machine's disk",
    EventKind.DISK_LIES: "the system keeps what a killed process has written",
    EventKind.SLOW: "all peers share this machine's processors",
    EventKind.CLOCK: "all peers share this machine's clock",
}
"""Why only a simulator can do it."""


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


def command_of(event: Event) -> Command:
    """What is done to the peers when it befalls them. The event is one of a script."""
    match event.kind:
        case EventKind.CRASH:
            return Kill(event.peers)
        case EventKind.RESTART | EventKind.JOIN:
            return Restart(event.peers)
        case EventKind.PAUSE:
            return Pause(event.peers)
        case EventKind.RESUME:
            return Resume(event.peers)
        case EventKind.PARTITION:
            return Partition(event.groups)
        case EventKind.HEAL:
            return Heal()
        case EventKind.WIPE:
            return Wipe(event.peers)
        case EventKind.BACK_UP:
            return BackUp(event.peers)
        case EventKind.RESTORE_OLD_DISK:
            return RestoreOldDisk(event.peers)
        case EventKind.MISBEHAVE:
            assert event.fault is not None, "checked when it was read"
            return Misbehave(event.peers, event.fault)
        case (
            EventKind.KILL_AT
            | EventKind.CUT
            | EventKind.RESET
            | EventKind.DISK_FULL
            | EventKind.DISK_LIES
            | EventKind.SLOW
            | EventKind.CLOCK
        ):
            raise AssertionError(f"{event.kind} is refused when a script is read")
        case _:
            assert_never(event.kind)


def _misfits(scenario: Scenario) -> Iterator[str]:
    if scenario.peers > PEERS_MAX:
        yield f"peers is {scenario.peers}; allowed is 1 to {PEERS_MAX} on real processes"
    allowed = ", ".join(kind for kind in EventKind if kind not in _SIMULATED)
    for place, event in enumerate(scenario.events, 1):
        if event.kind in _SIMULATED:
            why = f'kind is "{event.kind}", which can only be simulated: {_SIMULATED[event.kind]}'
            yield f"[[event]] number {place}: {why}; allowed on real processes is {allowed}"


def _unheeded(scenario: Scenario) -> Iterator[str]:
    """Settings of the simulator that were given."""
    given = [name for name in LinksSection.__struct_fields__ if getattr(scenario.links, name) != getattr(LinksSection(), name)]
    if given:
        yield f"[links] is for the simulator: {', '.join(given)} change nothing here; links, disks and processors are real"
    if scenario.snapshot_behind:
        yield "snapshot_behind is for the simulator: real peers start from a checkpoint when they lag by far more"
    if not scenario.are_checked:
        yield "are_checked is for the simulator: real stores are always read"
