"""Which scenarios contradict themselves, and which may surprise."""

from collections import Counter
from collections.abc import Iterator

from consensus.total_order.committee import faulty_max
from node.common.wording import agreeing, counted
from node.lab.faults.catalogue import Family, FaultError, check_fits, fault_named, parse_faults
from node.lab.scenarios.event_order import story_problems
from node.lab.scenarios.scenario import Event, EventKind, PeerNumbers, Scenario, milliseconds
from node.lab.scenarios.toy_tasks import ToyTask
from node.rules.network_rules import Consensus, Learning
from node.rules.typed_toml import TomlProblem

_OWN_FIELDS: dict[EventKind, tuple[str, ...]] = {
    EventKind.PARTITION: ("groups",),
    EventKind.CUT: ("senders", "receivers"),
    EventKind.HEAL: (),
    EventKind.SLOW: ("peers", "factor"),
    EventKind.CLOCK: ("peers", "offset_ms", "drift_ppm"),
    EventKind.DISK_LIES: ("peers", "unsynced_ms"),
    EventKind.KILL_AT: ("peers", "effect"),
    EventKind.MISBEHAVE: ("peers", "fault"),
}
"""What a kind takes besides its time; all others take peers alone."""

NOT_OVER_SOCKETS = frozenset({EventKind.KILL_AT, EventKind.PAUSE, EventKind.RESUME})
"""One event loop runs all peers and their tasks: none of them can stop alone, or between two effects."""

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
    faults = (*scenario.fault_of.values(), *(event.fault or "" for event in scenario.events))
    families = {fault_named(spec.name).family for fault in faults for spec in parse_faults(fault)}
    return scenario.links.sockets or Family.NETWORK in families


def _problems(scenario: Scenario) -> Iterator[str]:
    yield from _setting_problems(scenario)
    yield from _fault_problems(scenario)
    for place, event in enumerate(scenario.events, 1):
        yield from (f"[[event]] number {place}: {problem}" for problem in _event_problems(event, scenario))
    yield from story_problems(scenario)
    yield from _socket_problems(scenario)


def _setting_problems(scenario: Scenario) -> Iterator[str]:
    links, order = scenario.links, scenario.consensus is Consensus.TOTAL_ORDER
    if scenario.learning is Learning.GRADIENT and scenario.task is ToyTask.SPHERE:
        yield 'task is "sphere", which has no gradient; allowed is "quadratic" where learning is "gradient"'
    if scenario.measured_apart > scenario.evolution.fitness_tolerance:
        allowed = f"0 to evolution.fitness_tolerance ({scenario.evolution.fitness_tolerance})"
        yield f"measured_apart is {scenario.measured_apart}; allowed is {allowed}, or honest peers contest each other"
    if not set(range(scenario.insiders, scenario.peers)) <= set(scenario.fault_of):
        yield f"strangers is {scenario.strangers}; allowed is as many of the last peers as are faulty"
    if scenario.strangers >= scenario.peers:
        yield f"strangers is {scenario.strangers}; allowed is less than peers ({scenario.peers})"
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
        if not entry.peers:
            yield f"[[faulty]] number {place}: peers is empty; allowed is a list of one peer number or more"
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
    for place, event in enumerate(scenario.events, 1):
        if event.kind in NOT_OVER_SOCKETS:
            allowed = ", ".join(kind for kind in EventKind if kind not in NOT_OVER_SOCKETS)
            yield f'[[event]] number {place}: kind is "{event.kind}"; allowed is {allowed} {why}'


def _misfits(fault: str, scenario: Scenario) -> Iterator[str]:
    """Why a peer of this network cannot misbehave so."""
    try:
        for spec in parse_faults(fault):
            check_fits(spec, scenario.consensus, scenario.learning)
    except FaultError as error:
        yield str(error)


def _event_problems(event: Event, scenario: Scenario) -> Iterator[str]:
    fields = _OWN_FIELDS.get(event.kind, ("peers",))
    for name in ("peers", "groups", "senders", "receivers"):
        if name in fields and not getattr(event, name):
            yield f'{name} is missing, which kind "{event.kind}" takes'
    if "fault" in fields and event.fault is None:
        yield f'fault is missing, which kind "{event.kind}" takes; "" makes the peers honest again'
    for name in event.__struct_fields__[2:]:
        if name not in fields and getattr(event, name) != getattr(_PLAIN, name):
            yield f'{name} is given; kind "{event.kind}" takes {" and ".join(fields) or "nothing"}'
    named = (*event.peers, *event.senders, *event.receivers, *(number for group in event.groups for number in group))
    for number in named:
        if number >= scenario.peers:
            yield f"names peer {number}; allowed is 0 to {scenario.peers - 1}"
    yield from _misfits(event.fault or "", scenario)
    yield from _naming_problems(event, scenario.peers)
    if float(event.factor) < 1:
        yield f"factor is {event.factor}; allowed is 1 or more"
    last_ms = scenario.duration_ms - scenario.calm_ms
    if milliseconds(event.at_s) > last_ms:
        yield f"at_s is {event.at_s}; allowed is up to {last_ms / 1000:g}: after it all is calm (expect.calm_s)"


def _naming_problems(event: Event, peers: int) -> Iterator[str]:
    """Peers that are named twice, or so that nothing befalls anybody."""
    for name in ("peers", "senders", "receivers"):
        numbers: PeerNumbers = getattr(event, name)
        yield from (f"{name} names {number} twice; allowed is each peer once" for number in _twice(numbers))
    for number in sorted({*event.senders} & {*event.receivers}):
        yield f"senders and receivers both name {number}; allowed is each peer on one side"
    if _twice(tuple(number for group in event.groups for number in group)):
        yield "groups name a peer twice; allowed is each peer in one group"
    if () in event.groups:
        yield "groups has an empty group; allowed is one peer or more in each"
    if any(len(group) == peers for group in event.groups):
        yield "groups names all peers in one group; allowed are two groups or more"


def _twice(numbers: PeerNumbers) -> PeerNumbers:
    return tuple(number for number, count in Counter(numbers).items() if count > 1)


_PLAIN = Event(at_s=0, kind=EventKind.HEAL)
