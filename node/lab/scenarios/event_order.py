"""Events that cannot follow each other: what each peer has gone through when the next one befalls it."""

from collections.abc import Iterator

from node.lab.scenarios.scenario import Event, EventKind, Scenario, in_order, late_peers

_NEEDS_UP = frozenset(
    {
        EventKind.CRASH,
        EventKind.KILL_AT,
        EventKind.PAUSE,
        EventKind.DISK_FULL,
        EventKind.RESET,
        EventKind.MISBEHAVE,
    }
)
_ENDS = frozenset({EventKind.CRASH, EventKind.WIPE, EventKind.RESTORE_OLD_DISK})
_MAY_END = frozenset({EventKind.KILL_AT, EventKind.DISK_FULL})
"""Whether they have ended the peer is known only when it runs."""


def story_problems(scenario: Scenario) -> Iterator[str]:
    """Events that cannot follow each other, peer by peer; and what is still broken when progress is expected."""
    is_cut = False
    late, faulty = late_peers(scenario), scenario.fault_of
    story = {number: _Life(number in late, number in faulty) for number in range(scenario.peers)}
    for event in in_order(scenario):
        if event.kind in (EventKind.PARTITION, EventKind.CUT):
            is_cut = True
        elif event.kind is EventKind.HEAL:
            if not is_cut:
                yield f"heal at {event.at_s} s, where nothing is cut"
            is_cut = False
        for number in event.peers:
            if number in story:
                yield from (
                    f"{event.kind} of peer {number} at {event.at_s} s: {text}" for text in story[number].problems(event)
                )
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

    def problems(self, event: Event) -> Iterator[str]:
        if not self.is_here and event.kind is not EventKind.JOIN:
            yield "it has not joined yet"
        elif event.kind is EventKind.JOIN and self.is_here:
            yield "it has joined already"
        elif event.kind in _NEEDS_UP and self.is_up is False:
            yield "it is down"
        elif event.kind is EventKind.RESTART and self.is_up is True:
            yield "it is up; crash it before"
        elif event.kind is EventKind.RESUME and not self.is_paused:
            yield "it is not paused"
        elif event.kind is EventKind.PAUSE and self.is_paused:
            yield "it is paused already"
        elif event.kind is EventKind.DISK_LIES and not event.unsynced_ms and not self.has_lying_disk:
            yield "its disk is honest already; give unsynced_ms"
        elif event.kind is EventKind.RESTORE_OLD_DISK and not self.has_backup:
            yield "there is no old disk; add an event of kind back-up before"
        elif event.kind is EventKind.MISBEHAVE and not event.fault and not self.is_faulty:
            yield "it is honest already; name a fault"

    def live_through(self, event: Event) -> None:
        if event.kind in (EventKind.JOIN, EventKind.RESTART):
            self.is_here = self.is_up = True
        elif event.kind in _ENDS:
            self.is_up = self.is_paused = False
        elif event.kind in _MAY_END:
            self.is_up = None
        elif event.kind in (EventKind.PAUSE, EventKind.RESUME):
            self.is_paused = event.kind is EventKind.PAUSE
        elif event.kind is EventKind.BACK_UP:
            self.has_backup = True
        elif event.kind is EventKind.DISK_LIES:
            self.has_lying_disk = event.unsynced_ms > 0
        elif event.kind is EventKind.MISBEHAVE:  # it is started again
            self.is_up, self.is_paused, self.is_faulty = True, False, bool(event.fault)
