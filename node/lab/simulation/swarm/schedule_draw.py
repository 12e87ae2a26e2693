"""A story of what befalls a network: a peer has one trouble at a time, and all are over before the calm."""

from collections.abc import Iterator
from random import Random

from node.lab.scenarios.events import Join
from node.lab.scenarios.scenario import TimedEvent
from node.lab.simulation.swarm.fault_episodes import EpisodeContext, Kind, Spell, events_of, seconds

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
