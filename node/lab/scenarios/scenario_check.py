"""Which scenarios contradict themselves, event after event and as a whole, and which may surprise."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain

from consensus.total_order.committee import faulty_max
from node.common.wording import agreeing, counted
from node.lab.faults.catalogue import Family, FaultError, check_fits, fault_named, parse_faults
from node.lab.scenarios import events
from node.lab.scenarios.events import EVENTS, Cut, Event, Heal, KillAt, Misbehave, Partition, Pause, PeerNumbers, Resume, Slow
from node.lab.scenarios.scenario import Scenario, TimedEvent, in_order, late_peers, milliseconds
from node.lab.scenarios.toy_tasks import ToyTask
from node.rules.network_rules import Consensus, Learning
from node.rules.typed_toml import TomlProblem

_NEEDS_UP = (events.Crash, events.KillAt, events.Pause, events.DiskFull, events.Reset, events.Misbehave)
_ENDS = (events.Crash, events.Wipe, events.RestoreOldDisk)
_MAY_END = (events.KillAt, events.DiskFull)
"""Whether they have ended the peer is known only when it runs."""


def story_problems(scenario: Scenario) -> Iterator[str]:
    """Events that cannot follow each other, peer by peer; and what is still broken when progress is expected."""
    is_cut = False
    late, faulty = late_peers(scenario), scenario.fault_of
    story = {number: _Life(number in late, number in faulty) for number in range(scenario.peers)}
    for timed in in_order(scenario):
        event = timed.event
        if isinstance(event, events.Partition | events.Cut):
            is_cut = True
        elif isinstance(event, events.Heal):
            if not is_cut:
                yield f"heal at {timed.at_s} s, where nothing is cut"
            is_cut = False
        else:
            for number in event.peers:
                if number in story:
                    problems = story[number].problems(event)
                    yield from (f"{event.kind} of peer {number} at {timed.at_s} s: {text}" for text in problems)
                    story[number].live_through(event)
    if is_cut and scenario.expect.heights_min:
        yield "the network is still cut in the calm at the end; add an event of kind heal, or set expect.heights_min = 0"


class _Life:
    """What is known of a peer at a point of the story."""

    def __init__(self, is_late: bool, is_faulty: bool) -> None:
        self.is_here = not is_late
        self.is_up: bool | None = not is_late
        """None: that is known only when it runs."""
        self.is_paused = False
        self.is_faulty = is_faulty
        self.has_lying_disk = False
        self.has_backup = False

    def problems(self, event: events.PeersEvent) -> Iterator[str]:
        if not self.is_here and not isinstance(event, events.Join):
            yield "it has not joined yet"
        elif isinstance(event, events.Join) and self.is_here:
            yield "it has joined already"
        elif isinstance(event, _NEEDS_UP) and self.is_up is False:
            yield "it is down"
        elif isinstance(event, events.Restart) and self.is_up is True:
            yield "it is up; crash it before"
        elif isinstance(event, events.Resume) and not self.is_paused:
            yield "it is not paused"
        elif isinstance(event, events.Pause) and self.is_paused:
            yield "it is paused already"
        elif isinstance(event, events.DiskLies) and not event.unsynced_ms and not self.has_lying_disk:
            yield "its disk is honest already; give unsynced_ms"
        elif isinstance(event, events.RestoreOldDisk) and not self.has_backup:
            yield "there is no old disk; add an event of kind back-up before"
        elif isinstance(event, events.Misbehave) and not event.fault and not self.is_faulty:
            yield "it is honest already; name a fault"

    def live_through(self, event: events.PeersEvent) -> None:
        if isinstance(event, events.Join | events.Restart):
            self.is_here = self.is_up = True
        elif isinstance(event, _ENDS):
            self.is_up = self.is_paused = False
        elif isinstance(event, _MAY_END):
            self.is_up = None
        elif isinstance(event, events.Pause | events.Resume):
            self.is_paused = isinstance(event, events.Pause)
        elif isinstance(event, events.BackUp):
            self.has_backup = True
        elif isinstance(event, events.DiskLies):
            self.has_lying_disk = event.unsynced_ms > 0
        elif isinstance(event, events.Misbehave):  # it is started again
            self.is_up, self.is_paused, self.is_faulty = True, False, bool(event.fault)


_ONE_LOOP = "one event loop runs all peers, and none of them can stop alone, or between two effects"
NOT_OVER_SOCKETS: dict[type[Event], str] = {KillAt: _ONE_LOOP, Pause: _ONE_LOOP, Resume: _ONE_LOOP}

SOCKET_PEERS_MAX = 32
"""A full mesh of so many is a thousand connections, and slower than real time by a factor."""


def check(scenario: Scenario) -> None:
    """Raises TomlProblem at the first contradiction."""
    for problem in _problems(scenario):
        raise TomlProblem(problem)


def warnings(scenario: Scenario) -> tuple[str, ...]:
    """What is allowed, and may surprise."""
    peers = scenario.insiders
    faulty = sum(number < peers for number in scenario.ever_faulty)
    if scenario.consensus is Consensus.TOTAL_ORDER and faulty > faulty_max(peers):
        who = f"{faulty} of {counted(peers, 'member')} {agreeing(faulty, 'is')} faulty"
        return (f"{who}, and a total order among {peers} tolerates {faulty_max(peers)}",)
    if scenario.consensus is Consensus.PROOF_OF_WORK and 2 * faulty >= peers:
        who = f"{faulty} of {counted(peers, 'peer')} {agreeing(faulty, 'is')} faulty"
        return (f"{who}: half the work or more, and proof of work tolerates less than half",)
    return ()


def needs_sockets(scenario: Scenario) -> bool:
    """Whether it is asked for, or a fault lies below all messages: there is nothing there otherwise. Raises FaultError."""
    faults = (
        *scenario.fault_of.values(),
        *(timed.event.fault for timed in scenario.events if isinstance(timed.event, Misbehave)),
    )
    families = {fault_named(spec.name).family for fault in faults for spec in parse_faults(fault)}
    return scenario.links.sockets or Family.NETWORK in families


def _problems(scenario: Scenario) -> Iterator[str]:
    yield from _setting_problems(scenario)
    yield from _fault_problems(scenario)
    for place, timed in enumerate(scenario.events, 1):
        yield from (f"[[event]] number {place}: {problem}" for problem in _event_problems(timed, scenario))
    yield from story_problems(scenario)
    yield from _socket_problems(scenario)


def _setting_problems(scenario: Scenario) -> Iterator[str]:
    links, order = scenario.links, scenario.consensus is Consensus.TOTAL_ORDER
    if scenario.learning is Learning.GRADIENT and scenario.task is ToyTask.SPHERE:
        yield 'task is "sphere", which has no gradient; allowed is "quadratic" where learning is "gradient"'
    if scenario.measured_apart > scenario.evolution.fitness_tolerance and not order:
        allowed = f"0 to evolution.fitness_tolerance ({scenario.evolution.fitness_tolerance})"
        yield f"measured_apart is {scenario.measured_apart}; allowed is {allowed}, or honest peers contest each other"
    if not set(range(scenario.insiders, scenario.peers)) <= set(scenario.fault_of):
        yield f"outsiders is {scenario.outsiders}; allowed is as many of the last peers as are faulty"
    if scenario.outsiders >= scenario.peers:
        yield f"outsiders is {scenario.outsiders}; allowed is less than peers ({scenario.peers})"
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
        if not entry.fault:
            yield f'[[faulty]] number {place}: fault is ""; allowed is one like "mute"; without an entry a peer is honest'
        yield from (f"[[faulty]] number {place}: {problem}" for problem in _misfits(entry.fault, scenario))
        for number in entry.peers:
            if number >= scenario.peers:
                yield f"[[faulty]] number {place}: peers names {number}; allowed is 0 to {scenario.peers - 1}"
            if number in seen:
                yield f"[[faulty]] number {place}: peer {number} is faulty already; join its faults with + in one entry"
            seen.add(number)
    if len(scenario.ever_faulty) >= scenario.peers:
        yield f"all {scenario.peers} peers are faulty; allowed is {scenario.peers - 1}, so that somebody is honest"


def _socket_problems(scenario: Scenario) -> Iterator[str]:
    """What cannot be had where messages go through the real node's connections."""
    if not needs_sockets(scenario):
        return
    why = "over sockets, as links.sockets or a network fault wants it"
    if scenario.peers > SOCKET_PEERS_MAX:
        yield f"peers is {scenario.peers}; allowed is 1 to {SOCKET_PEERS_MAX} {why}"
    if scenario.links.neighbours:
        yield f"links.neighbours is {scenario.links.neighbours}; allowed is 0 {why}: all dial each other"
    if not scenario.links.is_ordered:
        yield f"links.is_ordered is false; allowed is true {why}: TCP delivers in order"
    yield from unplayable(scenario, NOT_OVER_SOCKETS, f"cannot be had {why}", "over sockets")


def unplayable(scenario: Scenario, reasons: Mapping[type[Event], str], what: str, where: str) -> Iterator[str]:
    """Events that cannot befall a network there, each with the reason."""
    allowed = ", ".join(kind for kind, event in EVENTS.items() if event not in reasons)
    for place, timed in enumerate(scenario.events, 1):
        event = timed.event
        if type(event) in reasons:
            why = f'kind is "{event.kind}", which {what}: {reasons[type(event)]}'
            yield f"[[event]] number {place}: {why}; allowed {where} is {allowed}"


def _misfits(fault: str, scenario: Scenario) -> Iterator[str]:
    """Why a peer of this network cannot misbehave so."""
    try:
        for spec in parse_faults(fault):
            check_fits(spec, scenario.consensus, scenario.learning, scenario.evolution.strategy)
    except FaultError as error:
        yield str(error)


def _event_problems(timed: TimedEvent, scenario: Scenario) -> Iterator[str]:
    event, sides = timed.event, _sides(timed.event)
    for number in chain.from_iterable(sides.values()):
        if number >= scenario.peers:
            yield f"names peer {number}; allowed is 0 to {scenario.peers - 1}"
    for name, numbers in sides.items():
        yield from (f"{name} names {number} twice; allowed is each peer once" for number in _twice(numbers))
    match event:
        case Cut(senders, receivers):
            for number in sorted({*senders} & {*receivers}):
                yield f"senders and receivers both name {number}; allowed is each peer on one side"
        case Partition(groups) if any(len(group) == scenario.peers for group in groups):
            yield "groups names all peers in one group; allowed are two groups or more"
        case Misbehave(_, fault):
            yield from _misfits(fault, scenario)
        case Slow(_, factor) if float(factor) < 1:
            yield f"factor is {factor}; allowed is 1 or more"
    last_ms = scenario.duration_ms - scenario.calm_ms
    if milliseconds(timed.at_s) > last_ms:
        yield f"at_s is {timed.at_s}; allowed is up to {last_ms / 1000:g}: after it all is calm (expect.calm_s)"


def _sides(event: Event) -> dict[str, PeerNumbers]:
    """Whom the event names, by field."""
    match event:
        case Partition(groups):
            return {"groups": tuple(chain.from_iterable(groups))}
        case Cut(senders, receivers):
            return {"senders": senders, "receivers": receivers}
        case Heal():
            return {}
        case _:
            return {"peers": event.peers}


def _twice(numbers: PeerNumbers) -> PeerNumbers:
    return tuple(number for number, count in Counter(numbers).items() if count > 1)
