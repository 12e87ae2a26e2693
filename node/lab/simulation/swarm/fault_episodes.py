"""What may befall a network, and by which events each trouble begins and ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import assert_never

from node.lab.scenarios import events
from node.lab.scenarios.scenario import TimedEvent

EFFECT_MAX = 5_000
"""Before an effect up to this number, counted from the run's start, a peer is killed: about as many as there are in a storm."""

UNSYNCED_MS_MAX = 2_000
"""So much a lying disk may lose."""

SLOWER_MAX = 10

HOUR_MS = 3_600_000
"""What a clock that was set in another time zone is put right by; longer than any deadline."""


Events = tuple[events.Event, ...]


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


def events_of(spell: Spell, random: Random, ground: EpisodeContext) -> Iterator[TimedEvent]:
    """How it begins, and how it ends."""
    begin, end = _begin_and_end(spell, random, ground)
    yield from (TimedEvent(seconds(spell.at_ms), event) for event in begin)
    yield from (TimedEvent(seconds(spell.until_ms), event) for event in end)


def _begin_and_end(spell: Spell, random: Random, ground: EpisodeContext) -> tuple[Events, Events]:
    peers = spell.peers
    restart = (events.Restart(peers),)
    match spell.kind:
        case Kind.CRASH | Kind.MASS_CRASH:
            return (events.Crash(peers),), restart
        case Kind.PAUSE:
            return (events.Pause(peers),), (events.Resume(peers),)
        case Kind.DISK_FULL:
            return (events.DiskFull(peers),), restart
        case Kind.WIPED:
            return (events.Wipe(peers),), restart
        case Kind.OLD_DISK:
            return (events.BackUp(peers),), (events.RestoreOldDisk(peers), *restart)
        case Kind.LYING_DISK:
            unsynced_ms = random.randint(10, UNSYNCED_MS_MAX)
            return (events.DiskLies(peers, unsynced_ms),), (events.Crash(peers), events.DiskLies(peers), *restart)
        case Kind.KILL_AT_EFFECT:
            return (events.KillAt(peers, random.randint(0, EFFECT_MAX)),), restart
        case Kind.SLOW:
            return (events.Slow(peers, random.randint(2, SLOWER_MAX)),), (events.Slow(peers),)
        case Kind.CLOCK:
            offset_ms = random.randint(-ground.clock_ms_max, ground.clock_ms_max)
            return (events.Clock(peers, offset_ms),), (events.Clock(peers),)
        case Kind.CLOCK_JUMP:
            return (events.Clock(peers, random.choice((-1, 1)) * HOUR_MS),), (events.Clock(peers),)
        case Kind.TURN:
            fault = random.choice(ground.faults)
            return (events.Misbehave(peers, fault),), (events.Misbehave(peers, ""),) if random.random() < 0.5 else ()
        case Kind.SPLIT | Kind.ONE_WAY:
            return (_cut(spell, ground),), (events.Heal(),)
        case Kind.RESET:
            return (events.Reset(peers),), ()
        case Kind.LATE:
            raise AssertionError("is drawn before all else")
        case _:
            assert_never(spell.kind)


def seconds(milliseconds: int) -> str:
    """As a scenario has it."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03}"


def _cut(spell: Spell, ground: EpisodeContext) -> events.Event:
    """Between these peers and all others, in both directions or in one."""
    peers = spell.peers
    others = tuple(number for number in range(ground.peers) if number not in peers)
    if spell.kind is Kind.SPLIT:
        return events.Partition(tuple(group for group in (peers, others) if group))
    return events.Cut(peers, others or peers)
