"""What may befall a network, and a story of it: a peer has one trouble at a time, and all are over before the calm."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from node.simulation.scenario import Event, EventKind

CUT_INTERVALS_MAX = 4
"""Proof of work: no part of the network is cut off for more block intervals than this, a third of what makes a block final. A
longer cut may make two chains final: what the depth is chosen against, and no mistake of anybody's."""

HEALED_MS_MIN = 4_000
"""Between two cuts: what was found on both sides becomes one chain."""

LASTING_MS = ((20, 500), (500, 4_000), (2_000, 10_000))
"""How long a trouble lasts, each range as often: below, about, and above what peers wait for."""


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
    KILL_AT_EFFECT = "killed between two effects"
    DISK_FULL = "disk full"
    WIPED = "wiped disk"
    OLD_DISK = "old copy of the disk"
    LYING_DISK = "disk that loses what it acknowledged"
    LATE = "late join"


FORGETFUL = (Kind.WIPED, Kind.OLD_DISK, Kind.LYING_DISK)
"""Who loses what it has acknowledged is faulty while it does: only so many peers may as the mode tolerates."""

CUTS = (Kind.SPLIT, Kind.ONE_WAY)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a story is drawn for."""

    peers: int
    faulty: tuple[int, ...]
    """These misbehave anyway."""
    tolerated: int
    """So many may be faulty or forgetful together."""
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


class Story:
    """Draws one trouble after the other."""

    def __init__(self, random: Random, ground: Ground) -> None:
        self._random = random
        self._ground = ground
        honest = [number for number in range(ground.peers) if number not in ground.faulty]
        forgetful = max(0, min(len(honest) - 1, ground.tolerated - len(ground.faulty)))
        self._forgetful = random.sample(honest, forgetful)
        self._late = random.sample(honest, min(len(honest) - 1, random.randint(1, 2)))
        self._free_at = [0] * ground.peers
        self._may_cut_at = 0

    def told(self, kinds: tuple[Kind, ...]) -> tuple[Event, ...]:
        """Every second or two something of one of these kinds, until the storm is over."""
        events = list(self._late_joins()) if Kind.LATE in kinds else []
        possible = [kind for kind in kinds if kind is not Kind.LATE]
        at_ms = self._random.randint(500, 3_000)
        while possible and at_ms < self._ground.storm_ms - 500:
            events += self._one_more(self._random.choice(possible), at_ms)
            at_ms += self._random.randint(200, 4_000)
        return tuple(events)

    def _late_joins(self) -> Iterator[Event]:
        """A peer or two that are there from the middle of the storm on, or only when it is over."""
        for number in self._late:
            at_ms = self._random.randint(self._ground.storm_ms // 2, self._ground.storm_ms)
            self._free_at[number] = at_ms
            yield _event(at_ms, EventKind.JOIN, number)

    def _one_more(self, kind: Kind, at_ms: int) -> Iterator[Event]:
        """Nothing, where nobody is free for it."""
        random, is_cut = self._random, kind in CUTS
        candidates = self._forgetful if kind in FORGETFUL else range(self._ground.peers)
        free = [number for number in candidates if self._free_at[number] <= at_ms]
        lasting_ms = random.randint(*random.choice(LASTING_MS))
        if is_cut:
            lasting_ms = min(lasting_ms, self._ground.cut_ms_max)
        until_ms = min(at_ms + lasting_ms, self._ground.storm_ms)
        if not free or (is_cut and at_ms < self._may_cut_at):
            return
        if is_cut:
            self._may_cut_at = until_ms + HEALED_MS_MIN
            peers = tuple(sorted(random.sample(range(self._ground.peers), random.randint(1, max(1, self._ground.peers // 2)))))
        else:
            peers = tuple(free) if kind is Kind.MASS_CRASH else (random.choice(free),)
            for number in peers:
                self._free_at[number] = until_ms + 1
        yield from self._events(Spell(kind, at_ms, until_ms, peers))

    def _events(self, spell: Spell) -> Iterator[Event]:
        """How it begins, and how it ends."""
        random, peers = self._random, spell.peers
        begin, end = spell.at_ms, spell.until_ms
        match spell.kind:
            case Kind.CRASH | Kind.MASS_CRASH:
                yield _event(begin, EventKind.CRASH, *peers)
                yield _event(end, EventKind.RESTART, *peers)
            case Kind.PAUSE:
                yield _event(begin, EventKind.PAUSE, *peers)
                yield _event(end, EventKind.RESUME, *peers)
            case Kind.SPLIT:
                others = tuple(number for number in range(self._ground.peers) if number not in peers)
                yield Event(_seconds(begin), EventKind.PARTITION, groups=tuple(group for group in (peers, others) if group))
                yield Event(_seconds(end), EventKind.HEAL)
            case Kind.ONE_WAY:
                others = tuple(number for number in range(self._ground.peers) if number not in peers)
                yield Event(_seconds(begin), EventKind.CUT, senders=peers, receivers=others or peers)
                yield Event(_seconds(end), EventKind.HEAL)
            case Kind.RESET:
                yield _event(begin, EventKind.RESET, *peers)
            case Kind.SLOW:
                yield Event(_seconds(begin), EventKind.SLOW, peers=peers, factor=random.randint(2, 10))
                yield Event(_seconds(end), EventKind.SLOW, peers=peers, factor=1)
            case Kind.CLOCK:
                offset_ms = random.randint(-self._ground.clock_ms_max, self._ground.clock_ms_max)
                yield Event(_seconds(begin), EventKind.CLOCK, peers=peers, offset_ms=offset_ms)
                yield Event(_seconds(end), EventKind.CLOCK, peers=peers)
            case Kind.KILL_AT_EFFECT:
                yield Event(_seconds(begin), EventKind.KILL_AT, peers=peers, effect=random.randint(0, 5_000))
                yield _event(end, EventKind.RESTART, *peers)
            case Kind.DISK_FULL:
                yield _event(begin, EventKind.DISK_FULL, *peers)
                yield _event(end, EventKind.RESTART, *peers)
            case Kind.WIPED:
                yield _event(begin, EventKind.WIPE, *peers)
                yield _event(end, EventKind.RESTART, *peers)
            case Kind.OLD_DISK:
                yield _event(begin, EventKind.BACK_UP, *peers)
                yield _event(end, EventKind.RESTORE_OLD_DISK, *peers)
                yield _event(end, EventKind.RESTART, *peers)
            case Kind.LYING_DISK:
                unsynced_ms = random.randint(10, 2_000)
                yield Event(_seconds(begin), EventKind.DISK_LIES, peers=peers, unsynced_ms=unsynced_ms)
                yield _event(end, EventKind.CRASH, *peers)
                yield Event(_seconds(end), EventKind.DISK_LIES, peers=peers)
                yield _event(end, EventKind.RESTART, *peers)
            case Kind.LATE:
                raise AssertionError("is drawn before all else")


def _event(at_ms: int, kind: EventKind, *peers: int) -> Event:
    return Event(_seconds(at_ms), kind, peers=peers)


def _seconds(milliseconds: int) -> str:
    """As a scenario has it."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03}"
