"""What may befall the peers of a network: one vocabulary for scenario files, the simulator, `inject` and testnets.

Peers are named by number; the first is 0. Not every place can let everything happen: what it cannot, it refuses.
"""

import re
from typing import Annotated, get_args

import msgspec
from msgspec import Meta

PEERS_MAX = 10_000
"""Two gigabytes of machines and learners."""

PeerNumber = Annotated[int, Meta(ge=0, le=PEERS_MAX)]
PeerNumbers = Annotated[
    tuple[PeerNumber, ...], Meta(min_length=1, title="a list of one peer number or more; the first peer is 0")
]
Groups = Annotated[
    tuple[PeerNumbers, ...], Meta(min_length=1, title="a list of lists of peer numbers, like [[0, 1], [2, 3]]; none is empty")
]
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]
Ratio = Annotated[
    Annotated[int, Meta(ge=0, le=10_000)] | Annotated[str, Meta(pattern=r"^[0-9]{1,5}(\.[0-9]{1,6})\Z")],
    Meta(title="a number from 0 to 10000, of at most 6 decimals"),
]
FaultText = Annotated[str, Meta(title='a fault like "sign-flip:scale=10"', max_length=500)]


def _kind(name: str) -> str:
    """KillAt: "kill-at"."""
    return re.sub(r"(?<!^)([A-Z])", r"-\1", name).lower()


class _Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=_kind):
    """Each event is tagged with its kind, so that one decoder reads them all."""

    @property
    def kind(self) -> str:
        """The name of the event in files and messages."""
        return str(self.__struct_config__.tag)


class _PeersEvent(_Event, frozen=True):
    """An event that befalls each of some peers."""

    peers: PeerNumbers


class Crash(_PeersEvent, frozen=True):
    """The peers are killed, as a power failure ends a machine; what is durable stays."""


class Restart(_PeersEvent, frozen=True):
    """The peers start from their folders; on a testnet those that run are stopped in good order first."""


class KillAt(_PeersEvent, frozen=True):
    """The peers are killed before they carry out the effect of this number."""

    effect: Annotated[int, Meta(ge=0, le=10**9)] = 0


class Join(_PeersEvent, frozen=True):
    """The peers start for the first time; until then they are not there."""


class Pause(_PeersEvent, frozen=True):
    """All processes of the peers stop where they are (SIGSTOP)."""


class Resume(_PeersEvent, frozen=True):
    """Paused peers go on (SIGCONT)."""


class Partition(_Event, frozen=True):
    """Only peers of one group reach each other, instead of an earlier partition; those in no group are one more group."""

    groups: Groups


class Cut(_Event, frozen=True):
    """Nothing that the senders send comes to the receivers; the other direction works."""

    senders: PeerNumbers
    receivers: PeerNumbers


class Heal(_Event, frozen=True):
    """Everybody reaches everybody again."""


class Reset(_PeersEvent, frozen=True):
    """Every connection of the peers breaks."""


class Wipe(_PeersEvent, frozen=True):
    """The peers are killed, and lose their databases; key and redo log are kept."""


class BackUp(_PeersEvent, frozen=True):
    """The peers' databases are copied as they are now."""


class RestoreOldDisk(_PeersEvent, frozen=True):
    """The peers are killed, and the copies take the place of their databases; the redo logs are as they were."""


class DiskFull(_PeersEvent, frozen=True):
    """The peers' next write fails."""


class DiskLies(_PeersEvent, frozen=True):
    """A crash loses what the peers' disks acknowledged within so long; 0: the disks are honest again."""

    unsynced_ms: Milliseconds = 0


class Slow(_PeersEvent, frozen=True):
    """Everything that the peers compute takes so many times as long."""

    factor: Ratio = 1


class Clock(_PeersEvent, frozen=True):
    """The peers' wall clocks are put so far ahead of true time, at once, and go too fast from then on."""

    offset_ms: Annotated[int, Meta(ge=-86_400_000, le=86_400_000)] = 0
    drift_ppm: Annotated[int, Meta(ge=-100_000, le=100_000)] = 0


class Misbehave(_PeersEvent, frozen=True):
    """The peers restart with this fault; without one they behave, though nobody counts them as honest any more."""

    fault: Annotated[FaultText, Meta(title='a fault like "sign-flip:scale=10", or "" to behave again')]


PeersEvent = (
    Crash
    | Restart
    | Join
    | Pause
    | Resume
    | Wipe
    | BackUp
    | RestoreOldDisk
    | Misbehave
    | KillAt
    | Reset
    | DiskFull
    | DiskLies
    | Slow
    | Clock
)
"""What befalls each of some peers."""

Event = PeersEvent | Partition | Heal | Cut

EVENTS: dict[str, type[Event]] = {_kind(event.__name__): event for event in get_args(Event)}
"""By kind, in the order in which messages list them."""
