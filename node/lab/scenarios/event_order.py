"""Events that cannot follow each other: what each peer has gone through when the next one befalls it."""

from collections.abc import Iterator

from node.lab.scenarios import events
from node.lab.scenarios.scenario import Scenario, in_order, late_peers

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
