"""What the events of a scenario do to a network, and which scenarios contradict themselves."""

from collections.abc import Iterator
from typing import assert_never

from consensus.types import PeerId
from node.faults.catalogue import FaultError, check_fits, parse_faults
from node.network_file import Consensus, Learning
from node.simulation.network import SimulatedNetwork
from node.simulation.scenario import Event, EventKind, Scenario, milliseconds
from node.simulation.toy_tasks import ToyTask
from node.typed_toml import TomlProblem

_OWN_FIELDS: dict[EventKind, tuple[str, ...]] = {
    EventKind.PARTITION: ("groups",),
    EventKind.CUT: ("senders", "receivers"),
    EventKind.HEAL: (),
    EventKind.SLOW: ("peers", "factor"),
    EventKind.CLOCK: ("peers", "offset_ms", "drift_ppm"),
    EventKind.DISK_LIES: ("peers", "unsynced_ms"),
    EventKind.KILL_AT: ("peers", "effect"),
}
"""What a kind takes besides its time; all others take peers alone."""

_NEEDS_UP = frozenset({EventKind.CRASH, EventKind.KILL_AT, EventKind.PAUSE, EventKind.DISK_FULL, EventKind.RESET})
_ENDS = frozenset({EventKind.CRASH, EventKind.WIPE, EventKind.RESTORE_OLD_DISK})
_MAY_END = frozenset({EventKind.KILL_AT, EventKind.DISK_FULL})
"""Whether they have ended the peer is known only when it runs."""


def apply(event: Event, network: SimulatedNetwork) -> None:
    """Let it befall the network now."""
    everybody = list(network.peers)
    peers = [everybody[number] for number in event.peers]
    match event.kind:
        case EventKind.PARTITION:
            network.split(*([everybody[number] for number in group] for group in event.groups))
        case EventKind.CUT:
            network.cut([everybody[number] for number in event.senders], [everybody[number] for number in event.receivers])
        case EventKind.HEAL:
            network.heal()
        case EventKind.RESET:
            _reset(peers, network)
        case _:
            for peer in peers:
                _apply_to(event, peer, network)


def _reset(peers: list[PeerId], network: SimulatedNetwork) -> None:
    """Every connection of these peers."""
    for peer in peers:
        for other in network.peers:
            network.reset(peer, other)


def _apply_to(event: Event, peer: PeerId, network: SimulatedNetwork) -> None:
    match event.kind:
        case EventKind.CRASH:
            network.crash(peer)
        case EventKind.RESTART | EventKind.JOIN:
            network.restart(peer)
        case EventKind.KILL_AT:
            network.kill_at(peer, event.effect)
        case EventKind.PAUSE:
            network.pause(peer)
        case EventKind.RESUME:
            network.resume(peer)
        case EventKind.WIPE:
            network.wipe(peer)
        case EventKind.BACK_UP:
            network.back_up(peer)
        case EventKind.RESTORE_OLD_DISK:
            network.restore_backup(peer)
        case EventKind.DISK_FULL:
            network.fill_disk(peer)
        case EventKind.DISK_LIES:
            network.lie_about_syncing(peer, event.unsynced_ms)
        case EventKind.SLOW:
            network.slow_down(peer, float(event.factor))
        case EventKind.CLOCK:
            network.set_clock(peer, event.offset_ms, event.drift_ppm)
        case EventKind.PARTITION | EventKind.CUT | EventKind.HEAL | EventKind.RESET:
            raise AssertionError("befalls the network, not one peer")
        case _:
            assert_never(event.kind)


def in_order(scenario: Scenario) -> tuple[Event, ...]:
    """By time; those of one time in the order of the file."""
    return tuple(sorted(scenario.events, key=lambda event: milliseconds(event.at_s)))


def late_peers(scenario: Scenario) -> frozenset[int]:
    """Those that are not there at first."""
    return frozenset(number for event in scenario.events if event.kind is EventKind.JOIN for number in event.peers)


# --- contradictions -------------------------------------------------------------------------------------------------


def check(scenario: Scenario) -> None:
    """Raises TomlProblem at the first contradiction."""
    for problem in _problems(scenario):
        raise TomlProblem(problem)


def warnings(scenario: Scenario) -> tuple[str, ...]:
    """What is allowed, and may surprise."""
    faulty, peers = len(scenario.fault_of), scenario.peers
    if scenario.consensus is Consensus.TOTAL_ORDER and faulty > (peers - 1) // 3:
        return (f"{faulty} of {peers} members are faulty, and a total order among {peers} tolerates {(peers - 1) // 3}",)
    if scenario.consensus is Consensus.PROOF_OF_WORK and 2 * faulty >= peers:
        return (f"{faulty} of {peers} peers are faulty: half the work or more, and proof of work tolerates less than half",)
    return ()


def _problems(scenario: Scenario) -> Iterator[str]:
    yield from _setting_problems(scenario)
    yield from _fault_problems(scenario)
    for place, event in enumerate(scenario.events, 1):
        yield from (f"[[event]] number {place}: {problem}" for problem in _event_problems(event, scenario))
    yield from _story_problems(scenario)


def _setting_problems(scenario: Scenario) -> Iterator[str]:
    links, order = scenario.links, scenario.consensus is Consensus.TOTAL_ORDER
    if scenario.learning is Learning.GRADIENT and scenario.task is ToyTask.SPHERE:
        yield 'task is "sphere", which has no gradient; allowed is "quadratic" where learning is "gradient"'
    if scenario.total_order.members:
        yield "total_order.members is given; allowed is none: the members' keys follow from the seed"
    if links.ms_min > links.ms_max:
        yield f"links.ms_min is {links.ms_min}; allowed is 0 to links.ms_max ({links.ms_max})"
    if links.neighbours and order:
        yield f"links.neighbours is {links.neighbours}; allowed is 0 where members of a total order all know each other"
    if links.neighbours >= scenario.peers:
        yield f"links.neighbours is {links.neighbours}; allowed is less than peers ({scenario.peers})"
    if scenario.calm_ms > scenario.duration_ms:
        yield f"expect.calm_s is {scenario.expect.calm_s}; allowed is up to duration_s ({scenario.duration_s})"


def _fault_problems(scenario: Scenario) -> Iterator[str]:
    seen: set[int] = set()
    for place, entry in enumerate(scenario.faulty, 1):
        try:
            for spec in parse_faults(entry.fault):
                check_fits(spec, scenario.consensus, scenario.learning)
        except FaultError as error:
            yield f"[[faulty]] number {place}: {error}"
        for number in entry.peers:
            if number >= scenario.peers:
                yield f"[[faulty]] number {place}: peers names {number}; allowed is 0 to {scenario.peers - 1}"
            if number in seen:
                yield f"[[faulty]] number {place}: peer {number} is faulty already; join its faults with + in one entry"
            seen.add(number)
    if len(seen) >= scenario.peers:
        yield f"all {scenario.peers} peers are faulty; allowed is {scenario.peers - 1}, so that somebody is honest"


def _event_problems(event: Event, scenario: Scenario) -> Iterator[str]:
    fields = _OWN_FIELDS.get(event.kind, ("peers",))
    for name in ("peers", "groups", "senders", "receivers"):
        if name in fields and not getattr(event, name):
            yield f'{name} is missing, which kind "{event.kind}" takes'
    for name in event.__struct_fields__[2:]:
        if name not in fields and getattr(event, name) != getattr(_PLAIN, name):
            yield f'{name} is given; kind "{event.kind}" takes {" and ".join(fields) or "nothing"}'
    named = (*event.peers, *event.senders, *event.receivers, *(number for group in event.groups for number in group))
    for number in named:
        if number >= scenario.peers:
            yield f"names peer {number}; allowed is 0 to {scenario.peers - 1}"
    grouped = [number for group in event.groups for number in group]
    if len(grouped) != len(set(grouped)):
        yield "groups name a peer twice; allowed is each peer in one group"
    if float(event.factor) < 1:
        yield f"factor is {event.factor}; allowed is 1 or more"
    last_ms = scenario.duration_ms - scenario.calm_ms
    if milliseconds(event.at_s) > last_ms:
        yield f"at_s is {event.at_s}; allowed is up to {last_ms / 1000:g}: after it all is calm (expect.calm_s)"


_PLAIN = Event(at_s=0, kind=EventKind.HEAL)


def _story_problems(scenario: Scenario) -> Iterator[str]:
    """Events that cannot follow each other, peer by peer; and what is still broken when progress is expected."""
    is_cut = False
    story = {number: _Life(number in late_peers(scenario)) for number in range(scenario.peers)}
    for event in in_order(scenario):
        if event.kind in (EventKind.PARTITION, EventKind.CUT):
            is_cut = True
        elif event.kind is EventKind.HEAL:
            if not is_cut:
                yield f"heal at {event.at_s} s, where nothing is cut"
            is_cut = False
        for number in event.peers:
            if number in story:
                yield from (
                    f"{event.kind} of peer {number} at {event.at_s} s: {text}" for text in story[number].problems(event)
                )
                story[number].live_through(event)
    if is_cut and scenario.expect.heights_min:
        yield "the network is still cut in the calm at the end; add an event of kind heal, or set expect.heights_min = 0"


class _Life:
    """What is known of a peer at a point of the story."""

    def __init__(self, is_late: bool) -> None:
        self.is_here = not is_late
        self.is_up: bool | None = not is_late
        """None: that is known only when it runs."""
        self.is_paused = False
        self.has_backup = False

    def problems(self, event: Event) -> Iterator[str]:
        if not self.is_here and event.kind is not EventKind.JOIN:
            yield "it has not joined yet"
        elif event.kind is EventKind.JOIN and self.is_here:
            yield "it has joined already"
        elif event.kind in _NEEDS_UP and self.is_up is False:
            yield "it is down"
        elif event.kind is EventKind.RESTART and self.is_up is True:
            yield "it is up; crash it before"
        elif event.kind is EventKind.RESUME and not self.is_paused:
            yield "it is not paused"
        elif event.kind is EventKind.RESTORE_OLD_DISK and not self.has_backup:
            yield "there is no old disk; add an event of kind back-up before"

    def live_through(self, event: Event) -> None:
        if event.kind in (EventKind.JOIN, EventKind.RESTART):
            self.is_here = self.is_up = True
        elif event.kind in _ENDS:
            self.is_up = self.is_paused = False
        elif event.kind in _MAY_END:
            self.is_up = None
        elif event.kind in (EventKind.PAUSE, EventKind.RESUME):
            self.is_paused = event.kind is EventKind.PAUSE
        elif event.kind is EventKind.BACK_UP:
            self.has_backup = True
