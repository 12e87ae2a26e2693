"""What is wrong with an event, told before anything is done."""

from collections.abc import Collection, Sequence
from typing import NoReturn

from node.common.errors import EXIT_CANNOT_NOW, NodeError
from node.lab.faults.catalogue import FaultError, check_fits, parse_faults
from node.lab.scenarios import events
from node.lab.scenarios.events import PeerNumbers
from node.lab.testnet.peer import PeerState, TestnetPeer
from node.rules.network_rules import NetworkRules

UP = (PeerState.STARTING, PeerState.RUNNING, PeerState.SILENT)

_FIXES = {
    PeerState.ABSENT: "start it with --restart",
    PeerState.KILLED: "start it with --restart",
    PeerState.STOPPED: "start it with --restart; its log says why it stopped",
    PeerState.PAUSED: "resume it with --resume",
}


SIMULATED: dict[type[events.Event], str] = {
    events.KillAt: "no process can be ended between two chosen effects",
    events.Cut: "a partition of processes holds in both directions; take partition",
    events.Reset: "the connections of a process are its own",
    events.DiskFull: "all peers share this machine's disk",
    events.DiskLies: "the system keeps what a killed process has written",
    events.Slow: "all peers share this machine's processors",
    events.Clock: "all peers share this machine's clock",
}
"""Why only a simulator can do it."""


def only_simulated(event: events.Event) -> NodeError:
    """Why this event cannot befall real peers."""
    return NodeError(f"{event.kind} can only be simulated: {SIMULATED[type(event)]}", "play it with simulate")


def check_numbers(numbers: PeerNumbers, count: int) -> None:
    """Raises NodeError unless they name different peers out of so many."""
    if not numbers:
        raise NodeError("no peer is named", f"name some, like 0 or 0,1; there are peers 0 to {count - 1}")
    for place, number in enumerate(numbers):
        if not 0 <= number < count:
            raise NodeError(f"there is no peer {number}", f"there are peers 0 to {count - 1}")
        if number in numbers[:place]:
            raise NodeError(f"peer {number} is named twice", "name it once")


def check_state(peers: Sequence[TestnetPeer], doing: str, allowed: Collection[PeerState]) -> None:
    """Raises NodeError where one of them is in another state."""
    for peer in peers:
        if peer.state not in allowed:
            raise NodeError(f"cannot {doing} {peer.name}: it is {peer.state}", _FIXES.get(peer.state), EXIT_CANNOT_NOW)


def whole_division(groups: tuple[PeerNumbers, ...], count: int) -> tuple[PeerNumbers, ...]:
    """The groups, and those in none as one more.

    Raises NodeError where a group is empty, a peer is in two, or all are in one.
    """
    if not all(groups):
        raise NodeError("a group of the partition is empty", "write groups like 0,1/2,3")
    named = tuple(number for group in groups for number in group)
    check_numbers(named, count)
    rest = tuple(number for number in range(count) if number not in named)
    whole = (*groups, rest) if rest else groups
    if len(whole) < 2:
        raise NodeError("all peers are in one group: that parts nobody", "write groups like 0,1/2,3")
    return whole


def canonical_fault(text: str, rules: NetworkRules) -> str:
    """The faults with all their parameters. Raises NodeError where there is none of a name, or the network cannot have it."""
    try:
        specs = parse_faults(text)
        for spec in specs:
            check_fits(spec, rules.consensus, rules.learning)
    except FaultError as error:
        _refuse_fault(error)
    return "+".join(str(spec) for spec in specs)


def _refuse_fault(error: FaultError) -> NoReturn:
    raise NodeError(str(error), "choose another fault") from error
