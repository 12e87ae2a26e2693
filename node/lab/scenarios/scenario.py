"""SCENARIO.toml: a network, what befalls it and when, and what is expected of it. Times are in seconds from its start.

When it is read, each mistake is named with its place.
"""

from collections.abc import Callable
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from consensus.proof_of_work.rules import ChainRules
from learning.evolution.rules import EvolutionRules
from learning.gradient.rules import GradientRules
from node.common.errors import MEND_FILE, NodeError, disk_error
from node.lab.scenarios.events import EVENTS, PEERS_MAX, Event, FaultText, Join, Milliseconds, Misbehave, PeerNumbers, Ratio
from node.lab.scenarios.toy_tasks import ToyTask
from node.rules.network_rules import Consensus, Learning, TotalOrderSection
from node.rules.typed_toml import TomlProblem, converted, document_of, one_of, wrong_name

EVENTS_MAX = 10_000
"""A fault every tenth of a second for a quarter of an hour."""

SECONDS_MAX = 86_400

Seconds = Annotated[
    Annotated[int, Meta(ge=0, le=SECONDS_MAX)] | Annotated[str, Meta(pattern=r"^[0-9]{1,5}(\.[0-9]{1,3})\Z")],
    Meta(title=f"a number of seconds from 0 to {SECONDS_MAX}, of at most 3 decimals"),
]


class Delays(StrEnum):
    """Distributions of the time that a message is under way."""

    CONSTANT = "constant"
    UNIFORM = "uniform"
    LOGNORMAL = "lognormal"
    REGIONS = "regions"


class LinksSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Connections, disks and processors. A lognormal delay has the median ms_min, a constant one is ms_min."""

    delay: Annotated[Delays, Meta(description="constant, uniform, lognormal, or regions: a measured map of the world.")] = (
        Delays.UNIFORM
    )
    ms_min: Milliseconds = 5
    ms_max: Milliseconds = 60
    sigma: Ratio = "0.5"
    is_ordered: Annotated[bool, Meta(title="true or false")] = True
    uplink_kbit_s: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    silence_ms: Milliseconds = 5_000
    reconnect_ms: Milliseconds = 500
    disk_ms: Milliseconds = 2
    answer_ms: Milliseconds = 3
    slice_ms: Annotated[int, Meta(ge=1, le=600_000)] = 50
    neighbours: Annotated[int, Meta(ge=0, le=1_000)] = 0
    """How many peers each one dials, at random; 0: everybody is connected to everybody."""
    sockets: Annotated[bool, Meta(title="true or false")] = False
    """Whether messages go through the real node's connections, as they do wherever a fault lies below all messages.

    Then its own heartbeats and dials count, in place of silence_ms and reconnect_ms.
    """


Microseconds = Annotated[int, Meta(ge=0, le=60_000_000)]


class ProcessorSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What computing costs each peer, on one core for its event loop and one for its puzzles; 0: no time.

    Of a node on an idle core of 2024: a message 150 us, a byte 10 ns, a signature (Ed25519) 180 us, a puzzle (Argon2id, 8 MiB)
    13,000 us. What a learner measures is in `links.answer_ms`.
    """

    message_us: Microseconds = 0
    byte_ns: Microseconds = 0
    signature_us: Microseconds = 0
    puzzle_us: Microseconds = 0


class ExpectSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every honest peer that is up does in the calm at the end."""

    calm_s: Seconds = 20
    """The last so many seconds are free of events; progress is judged there."""
    heights_min: Annotated[int, Meta(ge=0, le=1_000_000)] = 3
    """So many heights each head gains in the calm at least; 0: nothing is expected."""
    behind_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 3
    """So far behind the highest head each one is at the end at most."""


class TimedEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What befalls the network, and when."""

    at_s: Seconds
    event: Event


class Faulty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Peers that misbehave from their start on."""

    fault: FaultText
    peers: PeerNumbers


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a run but its seed."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}\Z", title="1 to 64 letters, digits or -_. ")]
    consensus: Annotated[Consensus, Meta(description="proof-of-work or total-order")]
    learning: Annotated[Learning, Meta(description="evolution or gradient")]
    peers: Annotated[int, Meta(ge=1, le=PEERS_MAX)]
    duration_s: Seconds
    outsiders: Annotated[int, Meta(ge=0, le=PEERS_MAX)] = 0
    """So many of the last peers have no part: no work, no membership. Who is refused comes back under a new key."""
    task: ToyTask = ToyTask.QUADRATIC
    are_checked: Annotated[bool, Meta(title="true or false")] = True
    snapshot_behind: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Total order: who lags by so many commits starts from a checkpoint; 0: as in a real node."""
    is_retention_tight: Annotated[bool, Meta(title="true or false")] = False
    """Total order: delivered payloads are forgotten as soon as nobody may ask for them, not some thousand commits later."""
    measured_apart: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Peers' measurements of fitness differ by up to so many micro-units, as their processors do; under a total order, where
    nobody claims anything, as their data do."""
    links: LinksSection = LinksSection()
    processor: ProcessorSection = ProcessorSection()
    expect: ExpectSection = ExpectSection()
    evolution: EvolutionRules = EvolutionRules(offspring=16, step_size="0.05", step_size_factor="0.99", step_size_floor="0.005")
    gradient: GradientRules = GradientRules(momentum="0.5", minibatch_size=4, staleness_max=30, shards="whole")
    proof_of_work: ChainRules = ChainRules(block_interval_ms=1_000, start_attempts=100, puzzle_memory_kib=8, finality_depth=16)
    """So shallow that blocks become final in a run of minutes, and a split of seconds stops the lighter side."""
    total_order: TotalOrderSection = TotalOrderSection(round_interval_ms=50)
    events: tuple[TimedEvent, ...] = ()
    faulty: tuple[Faulty, ...] = ()

    @property
    def insiders(self) -> int:
        """Who has a part: all but the outsiders. They come first."""
        return self.peers - self.outsiders

    @property
    def duration_ms(self) -> int:
        """How long it runs."""
        return milliseconds(self.duration_s)

    @property
    def calm_ms(self) -> int:
        """How long nothing befalls anybody at the end."""
        return milliseconds(self.expect.calm_s)

    @property
    def fault_of(self) -> dict[int, str]:
        """The fault of each peer that misbehaves from its start on, by number."""
        return {number: entry.fault for entry in self.faulty for number in entry.peers}

    @property
    def ever_faulty(self) -> tuple[int, ...]:
        """Who misbehaves from the start on, or later; by number, in order."""
        turning = (timed.event.peers for timed in self.events if isinstance(timed.event, Misbehave))
        return tuple(sorted({*self.fault_of, *chain.from_iterable(turning)}))


def milliseconds(seconds: int | str) -> int:
    """Exactly, as the text has it."""
    whole, _, decimals = str(seconds).partition(".")
    return int(whole) * 1000 + int(decimals.ljust(3, "0") or 0)


def in_order(scenario: Scenario) -> tuple[TimedEvent, ...]:
    """By time; those of one time in the order of the file."""
    return tuple(sorted(scenario.events, key=lambda timed: milliseconds(timed.at_s)))


def late_peers(scenario: Scenario) -> frozenset[int]:
    """Those that are not there at first."""
    joining = (timed.event.peers for timed in scenario.events if isinstance(timed.event, Join))
    return frozenset(chain.from_iterable(joining))


SCENARIO_BYTES_MAX = 1 << 20
"""Ten thousand events; whatever is larger is another file."""

Entry = TypeVar("Entry")


def parse_scenario(text: str) -> Scenario:
    """The scenario that the text describes; whether its parts fit together is for `contradictions`. Raises TomlProblem."""
    document = document_of(text)
    events = _entries(document, "event", _timed_event, EVENTS_MAX)
    faulty = _entries(document, "faulty", lambda table: converted(table, Faulty), PEERS_MAX)
    if "events" in document:
        raise TomlProblem("events is not a setting (did you mean [[event]]?)")
    scenario = converted(document, Scenario)
    return msgspec.structs.replace(scenario, events=events, faulty=faulty)


def _entries(
    document: dict[str, object], name: str, read: Callable[[dict[str, object]], Entry], count_max: int
) -> tuple[Entry, ...]:
    """The tables under [[name]], each mistake told with the place of its table. They are taken out of the document."""
    tables = document.pop(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables) or len(tables) > count_max:
        raise TomlProblem(f"{name} is not a list of at most {count_max:,} tables; write each as [[{name}]]")
    entries = []
    for place, table in enumerate(tables, 1):
        try:
            entries.append(read(table))
        except TomlProblem as problem:
            raise TomlProblem(f"[[{name}]] number {place}: {problem}") from problem
    return tuple(entries)


class _When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at_s: Seconds


def _timed_event(table: dict[str, object]) -> TimedEvent:
    """An event and its time, which stand in one table."""
    when = converted({name: table.pop(name) for name in ("at_s",) if name in table}, _When)
    if "kind" not in table:
        raise TomlProblem(f"kind is missing; allowed is {one_of([*EVENTS])}")
    kind = table["kind"]
    if not isinstance(kind, str) or kind not in EVENTS:
        raise TomlProblem(wrong_name("kind", kind, [*EVENTS]))
    return TimedEvent(when.at_s, converted(table, EVENTS[kind]))


def read_scenario(path: Path) -> Scenario:
    """The scenario in a file. Raises NodeError."""
    try:
        if path.stat().st_size > SCENARIO_BYTES_MAX:
            raise NodeError(f"{path} has more than {SCENARIO_BYTES_MAX:,} bytes, so it is not a scenario", "check the path")
        return parse_scenario(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise NodeError(f"{path}: byte {error.start} is not UTF-8 text", MEND_FILE) from error
    except OSError as error:
        raise disk_error("read the scenario", path, error) from error
    except TomlProblem as problem:
        raise NodeError(f"{path}: {problem}", MEND_FILE) from problem
