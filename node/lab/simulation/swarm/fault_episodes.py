"""What may befall a network, and by which events each trouble begins and ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import assert_never

from node.lab.scenarios.scenario import Event, EventKind

EFFECT_MAX = 5_000
"""Before an effect up to this number, counted from the run's start, a peer is killed: about as many as there are in a storm."""

UNSYNCED_MS_MAX = 2_000
"""So much a lying disk may lose."""

SLOWER_MAX = 10

HOUR_MS = 3_600_000
"""What a clock that was set in another time zone is put right by; longer than any deadline."""


class Kind(StrEnum):
    """What may be on or off in one run."""

    CRASH = "crash"
    MASS_CRASH = "everybody crashes at once"
    PAUSE = "pause"
    SPLIT = "split"
    ONE_WAY = "one direction is lost"
    RESET = "connections are reset"
    SLOW = "slow processor"
    CLOCK = "wrong clock"
    CLOCK_JUMP = "clock that jumps by an hour and back"
    KILL_AT_EFFECT = "killed between two effects"
    DISK_FULL = "disk full"
    WIPED = "wiped disk"
    OLD_DISK = "old copy of the disk"
    LYING_DISK = "disk that loses what it acknowledged"
    LATE = "late join"
    TURN = "a peer that turns, and perhaps back"


@dataclass(frozen=True, slots=True)
class EpisodeContext:
    """What a story is drawn for."""

    peers: int
    faulty: tuple[int, ...]
    """These misbehave anyway."""
    tolerated: int
    """So many may be faulty or forgetful together."""
    faults: tuple[str, ...]
    """What those who turn turn to."""
    cut_ms_max: int
    clock_ms_max: int
    storm_ms: int


@dataclass(frozen=True, slots=True)
class Spell:
    """One trouble: when it comes, when it is over, and whom it befalls."""

    kind: Kind
    at_ms: int
    until_ms: int
    peers: tuple[int, ...]


def events_of(spell: Spell, random: Random, ground: EpisodeContext) -> Iterator[Event]:
    """How it begins, and how it ends."""
    peers, begin, end = spell.peers, seconds(spell.at_ms), seconds(spell.until_ms)
    match spell.kind:
        case Kind.CRASH | Kind.MASS_CRASH:
            yield from _from_to(EventKind.CRASH, EventKind.RESTART, spell)
        case Kind.PAUSE:
            yield from _from_to(EventKind.PAUSE, EventKind.RESUME, spell)
        case Kind.DISK_FULL:
            yield from _from_to(EventKind.DISK_FULL, EventKind.RESTART, spell)
        case Kind.WIPED:
            yield from _from_to(EventKind.WIPE, EventKind.RESTART, spell)
        case Kind.OLD_DISK:
            yield from _from_to(EventKind.BACK_UP, EventKind.RESTORE_OLD_DISK, spell)
            yield Event(end, EventKind.RESTART, peers=peers)
        case Kind.LYING_DISK:
            unsynced_ms = random.randint(10, UNSYNCED_MS_MAX)
            yield Event(begin, EventKind.DISK_LIES, peers=peers, unsynced_ms=unsynced_ms)
            yield Event(end, EventKind.CRASH, peers=peers)
            yield Event(end, EventKind.DISK_LIES, peers=peers)
            yield Event(end, EventKind.RESTART, peers=peers)
        case Kind.KILL_AT_EFFECT:
            yield Event(begin, EventKind.KILL_AT, peers=peers, effect=random.randint(0, EFFECT_MAX))
            yield Event(end, EventKind.RESTART, peers=peers)
        case Kind.SLOW:
            yield Event(begin, EventKind.SLOW, peers=peers, factor=random.randint(2, SLOWER_MAX))
            yield Event(end, EventKind.SLOW, peers=peers, factor=1)
        case Kind.CLOCK:
            offset_ms = random.randint(-ground.clock_ms_max, ground.clock_ms_max)
            yield Event(begin, EventKind.CLOCK, peers=peers, offset_ms=offset_ms)
            yield Event(end, EventKind.CLOCK, peers=peers)
        case Kind.CLOCK_JUMP:
            yield Event(begin, EventKind.CLOCK, peers=peers, offset_ms=random.choice((-1, 1)) * HOUR_MS)
            yield Event(end, EventKind.CLOCK, peers=peers)
        case Kind.TURN:
            yield Event(begin, EventKind.MISBEHAVE, peers=peers, fault=random.choice(ground.faults))
            if random.random() < 0.5:
                yield Event(end, EventKind.MISBEHAVE, peers=peers, fault="")
        case Kind.SPLIT | Kind.ONE_WAY:
            yield _cut(spell, ground)
            yield Event(end, EventKind.HEAL)
        case Kind.RESET:
            yield Event(begin, EventKind.RESET, peers=peers)
        case Kind.LATE:
            raise AssertionError("is drawn before all else")
        case _:
            assert_never(spell.kind)


def seconds(milliseconds: int) -> str:
    """As a scenario has it."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03}"


def _from_to(begin: EventKind, end: EventKind, spell: Spell) -> Iterator[Event]:
    yield Event(seconds(spell.at_ms), begin, peers=spell.peers)
    yield Event(seconds(spell.until_ms), end, peers=spell.peers)


def _cut(spell: Spell, ground: EpisodeContext) -> Event:
    """Between these peers and all others, in both directions or in one."""
    at_s, peers = seconds(spell.at_ms), spell.peers
    others = tuple(number for number in range(ground.peers) if number not in peers)
    if spell.kind is Kind.SPLIT:
        return Event(at_s, EventKind.PARTITION, groups=tuple(group for group in (peers, others) if group))
    return Event(at_s, EventKind.CUT, senders=peers, receivers=others or peers)
