"""SCENARIO.toml: a network, what befalls it and when, and what is expected of it. Times are in seconds from its start."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from node.errors import NodeError, disk_error
from node.network_file import (
    Consensus,
    EvolutionSection,
    GradientSection,
    Learning,
    ProofOfWorkSection,
    TotalOrderSection,
)
from node.simulation.toy_tasks import ToyTask
from node.typed_toml import TomlProblem, converted, document_of

SCENARIO_BYTES_MAX = 1 << 20
"""Ten thousand events; whatever is larger is another file."""

PEERS_MAX = 10_000
"""Two gigabytes of machines and learners."""

EVENTS_MAX = 10_000
"""A fault every tenth of a second for a quarter of an hour."""

SECONDS_MAX = 86_400

Section = TypeVar("Section", bound=msgspec.Struct)

Seconds = Annotated[
    Annotated[int, Meta(ge=0, le=SECONDS_MAX)] | Annotated[str, Meta(pattern=r"^[0-9]{1,5}(\.[0-9]{1,3})\Z")],
    Meta(title=f"a number of seconds from 0 to {SECONDS_MAX}, of at most 3 decimals"),
]
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]
Ratio = Annotated[
    Annotated[int, Meta(ge=0, le=10_000)] | Annotated[str, Meta(pattern=r"^[0-9]{1,5}(\.[0-9]{1,6})\Z")],
    Meta(title="a number from 0 to 10000, of at most 6 decimals"),
]
PeerNumber = Annotated[int, Meta(ge=0, le=PEERS_MAX)]
PeerNumbers = Annotated[tuple[PeerNumber, ...], Meta(title="a list of peer numbers; the first peer is 0")]
Groups = Annotated[tuple[tuple[PeerNumber, ...], ...], Meta(title="a list of lists of peer numbers, like [[0, 1], [2, 3]]")]


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


class ExpectSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every honest peer that is up does in the calm at the end."""

    calm_s: Seconds = 20
    """The last so many seconds are free of events; progress is judged there."""
    heights_min: Annotated[int, Meta(ge=0, le=1_000_000)] = 3
    """So many heights each head gains in the calm at least; 0: nothing is expected."""
    behind_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 3
    """So far behind the highest head each one is at the end at most."""


class EventKind(StrEnum):
    """What may befall peers."""

    CRASH = "crash"
    RESTART = "restart"
    KILL_AT = "kill-at"
    JOIN = "join"
    PAUSE = "pause"
    RESUME = "resume"
    PARTITION = "partition"
    CUT = "cut"
    HEAL = "heal"
    RESET = "reset"
    WIPE = "wipe"
    BACK_UP = "back-up"
    RESTORE_OLD_DISK = "restore-old-disk"
    DISK_FULL = "disk-full"
    DISK_LIES = "disk-lies"
    SLOW = "slow"
    CLOCK = "clock"


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that befalls the network. Which fields a kind takes is in `node.simulation.schedule`."""

    at_s: Seconds
    kind: EventKind
    peers: PeerNumbers = ()
    groups: Groups = ()
    senders: PeerNumbers = ()
    receivers: PeerNumbers = ()
    factor: Ratio = 1
    """`slow`: everything takes so many times as long."""
    offset_ms: Annotated[int, Meta(ge=-600_000, le=600_000)] = 0
    drift_ppm: Annotated[int, Meta(ge=-100_000, le=100_000)] = 0
    unsynced_ms: Milliseconds = 0
    """`disk-lies`: a crash loses what was acknowledged within so long."""
    effect: Annotated[int, Meta(ge=0, le=10**9)] = 0
    """`kill-at`: killed before it carries out the effect of this number."""


class Faulty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Peers that misbehave from their start on."""

    fault: Annotated[str, Meta(title='a fault like "sign-flip:scale=10"', max_length=500)]
    peers: PeerNumbers


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a run but its seed."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}\Z", title="1 to 64 letters, digits or -_. ")]
    consensus: Annotated[Consensus, Meta(description="proof-of-work or total-order")]
    learning: Annotated[Learning, Meta(description="evolution or gradient")]
    peers: Annotated[int, Meta(ge=1, le=PEERS_MAX)]
    duration_s: Seconds
    task: ToyTask = ToyTask.QUADRATIC
    are_checked: Annotated[bool, Meta(title="true or false")] = True
    snapshot_behind: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Total order: who lags by so many commits starts from a checkpoint; 0: as in a real node."""
    links: LinksSection = LinksSection()
    expect: ExpectSection = ExpectSection()
    evolution: EvolutionSection = EvolutionSection(
        offspring=16, step_size="0.05", step_size_factor="0.99", step_size_floor="0.005"
    )
    gradient: GradientSection = GradientSection(momentum="0.5", minibatch_size=4, staleness_max=30, shards="whole")
    proof_of_work: ProofOfWorkSection = ProofOfWorkSection(block_interval_ms=1_000, start_attempts=100, puzzle_memory_kib=8)
    total_order: TotalOrderSection = TotalOrderSection(round_interval_ms=50)
    events: tuple[Event, ...] = ()
    faulty: tuple[Faulty, ...] = ()

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
        """The fault of each faulty peer, by number."""
        return {number: entry.fault for entry in self.faulty for number in entry.peers}


def milliseconds(seconds: int | str) -> int:
    """Exactly, as the text has it."""
    whole, _, decimals = str(seconds).partition(".")
    return int(whole) * 1000 + int(decimals.ljust(3, "0") or 0)


def parse_scenario(text: str) -> Scenario:
    """The scenario that the text describes; whether its parts fit together is for `contradictions`. Raises TomlProblem."""
    document = document_of(text)
    events = _entries(document, "event", Event, EVENTS_MAX)
    faulty = _entries(document, "faulty", Faulty, PEERS_MAX)
    if "events" in document:
        raise TomlProblem("events is not a setting (did you mean [[event]]?)")
    scenario = converted(document, Scenario)
    return msgspec.structs.replace(scenario, events=events, faulty=faulty)


def _entries(document: dict[str, object], name: str, wanted: type[Section], count_max: int) -> tuple[Section, ...]:
    """The tables under [[name]], each mistake told with the place of its table. They are taken out of the document."""
    tables = document.pop(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables) or len(tables) > count_max:
        raise TomlProblem(f"{name} is not a list of at most {count_max:,} tables; write each as [[{name}]]")
    entries = []
    for place, table in enumerate(tables, 1):
        try:
            entries.append(converted(table, wanted))
        except TomlProblem as problem:
            raise TomlProblem(f"[[{name}]] number {place}: {problem}") from problem
    return tuple(entries)


def read_scenario(path: Path) -> Scenario:
    """The scenario in a file. Raises NodeError."""
    try:
        if path.stat().st_size > SCENARIO_BYTES_MAX:
            raise NodeError(f"{path} has more than {SCENARIO_BYTES_MAX:,} bytes, so it is not a scenario")
        return parse_scenario(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise NodeError(f"{path}: byte {error.start} is not UTF-8 text") from error
    except OSError as error:
        raise disk_error("read the scenario", path, error) from error
    except TomlProblem as problem:
        raise NodeError(f"{path}: {problem}") from problem
