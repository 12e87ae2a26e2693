"""What may befall a network, by which events each trouble begins and ends, and the story that is drawn of them.

A peer has one trouble at a time, and all are over before the calm.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import assert_never

from node.lab.scenarios import events
from node.lab.scenarios.events import Join
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


CUT_INTERVALS_MAX = 4
"""Proof of work: no part of the network is cut off for more block intervals than this, a third of what makes a block final. A
longer cut may make two chains final: what the depth is chosen against, and no mistake of anybody's."""

HEALED_MS_MIN = 4_000
"""Between two cuts: what was found on both sides becomes one chain."""

LASTING_MS = ((20, 500), (500, 4_000), (2_000, 10_000))
"""How long a trouble lasts, each range as often: below, about, and above what peers wait for."""


OF_FAULTY_PEERS = (Kind.WIPED, Kind.OLD_DISK, Kind.LYING_DISK, Kind.TURN)
"""Who loses what it has acknowledged is faulty while it does: these befall only so many peers as the mode tolerates."""

CUTS = (Kind.SPLIT, Kind.ONE_WAY)

LIKE_CUTS = (*CUTS, Kind.CLOCK_JUMP)
"""Under proof of work, whose wall clock is far off hears others' blocks too early, or is heard so: it is cut off."""


class Story:
    """Draws one trouble after the other."""

    def __init__(self, random: Random, ground: EpisodeContext) -> None:
        self._random = random
        self._ground = ground
        honest = [number for number in range(ground.peers) if number not in ground.faulty]
        unreliable = max(0, min(len(honest) - 1, ground.tolerated - len(ground.faulty)))
        self._unreliable = random.sample(honest, unreliable)
        self._late = random.sample(honest, min(len(honest) - 1, random.randint(1, 2)))
        self._free_at = [0] * ground.peers
        self._may_cut_at = 0

    def told(self, kinds: tuple[Kind, ...]) -> tuple[TimedEvent, ...]:
        """Every second or two something of one of these kinds, until the storm is over."""
        events = list(self._late_joins()) if Kind.LATE in kinds else []
        possible = [kind for kind in kinds if kind is not Kind.LATE]
        at_ms = self._random.randint(500, 3_000)
        while possible and at_ms < self._ground.storm_ms - 500:
            events += self._one_more(self._random.choice(possible), at_ms)
            at_ms += self._random.randint(200, 4_000)
        return tuple(events)

    def _late_joins(self) -> Iterator[TimedEvent]:
        """A peer or two that are there from the middle of the storm on, or only when it is over."""
        for number in self._late:
            at_ms = self._random.randint(self._ground.storm_ms // 2, self._ground.storm_ms)
            self._free_at[number] = at_ms
            yield TimedEvent(seconds(at_ms), Join((number,)))

    def _one_more(self, kind: Kind, at_ms: int) -> Iterator[TimedEvent]:
        """Nothing, where nobody is free for it."""
        random, is_cut = self._random, kind in LIKE_CUTS
        candidates = self._unreliable if kind in OF_FAULTY_PEERS else range(self._ground.peers)
        free = [number for number in candidates if self._free_at[number] <= at_ms]
        lasting_ms = random.randint(*random.choice(LASTING_MS))
        if is_cut:
            lasting_ms = min(lasting_ms, self._ground.cut_ms_max)
        until_ms = min(at_ms + lasting_ms, self._ground.storm_ms)
        if not free or (is_cut and at_ms < self._may_cut_at):
            return
        if is_cut:
            self._may_cut_at = until_ms + HEALED_MS_MIN
        if kind in CUTS:
            peers = tuple(sorted(random.sample(range(self._ground.peers), random.randint(1, max(1, self._ground.peers // 2)))))
        else:
            peers = tuple(free) if kind is Kind.MASS_CRASH else (random.choice(free),)
            for number in peers:
                self._free_at[number] = until_ms + 1
        yield from events_of(Spell(kind, at_ms, until_ms, peers), random, self._ground)
