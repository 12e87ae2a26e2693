"""What peers cost us, in time of our event loop: each, each subnet, and all outsiders together may use a share of it.

Whoever is over a share rests: we read its next frame later, and TCP slows it down. Nothing is lost, and nobody is refused for
it, since what is costly is not always wrong. Of a share that several have in common each gets an equal part while there is not
enough for all, so that who asks for little is not kept waiting by who asks for much.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum

from consensus.total_order.committee import faulty_max
from consensus.types import PeerId
from node.net.rates import TokenBucket

FRAME_SECONDS = 0.000_02
"""To read a frame or to write one, whatever is in it: measured at 5 us, doubled twice for slower machines."""

BYTE_SECONDS = 0.000_000_004
"""To seal or open a byte, and to copy it: measured at 1.5 ns."""

REST_SECONDS_MAX = 60.0
"""At 64 outsiders what costs 94 ms. Who rests for longer than a ping may take, and sends more meanwhile, may be given up."""


GROUPS_KEPT_MAX = 1_024
"""Subnets remembered, 0.3 kB each; far more than there are places for: a fresh start costs an attacker a thousand of them."""


class PeerRole(Enum):
    """What a peer is to us."""

    MEMBER = "it has a part in the total order"
    CHOSEN = "we dialled it, in a network that is open to all"
    OUTSIDER = "it came by itself, or has no part in the total order"


@dataclass(frozen=True, slots=True)
class Share:
    """Seconds of our loop that may be used in each second, or bytes of our link; `burst` may have been saved before."""

    share: float
    burst: float


@dataclass(frozen=True, slots=True)
class CostLimits:
    """Shares of the event loop."""

    liars: Share = Share(0.5, 5.0)
    """For as many members together as may lie, an equal part each: however they lie, half is left to the others. An honest
    member needs less: where the loop has no rest, each of n - 1 has its part of all of it, and this is half as much again."""

    chosen: Share = Share(0.5, 5.0)
    """For one that we dialled, in an open network: a chain may be fetched from it alone; a block costs about a millisecond."""

    all_chosen: Share = Share(0.6, 10.0)
    """For all of them together: with those that came by themselves they leave a tenth to our own work, whoever they are."""

    outsider: Share = Share(0.1, 0.5)
    """For one outsider: a hundred costly questions a second."""

    group: Share = Share(0.1, 0.5)
    """For all outsiders of one subnet."""

    outsiders: Share = Share(0.1, 0.5)
    """For all outsiders together, where there are members: they keep nine tenths of the loop, whoever comes."""

    outsiders_bytes: Share = Share(8_388_608, 33_554_432)
    """Bytes a second of our link, for all outsiders together: small questions have large answers, and half a megabyte costs our
    loop no more than a few blocks. As much as one peer may send us."""

    outsiders_of_open: Share = Share(0.15, 1.0)
    """For all that came by themselves, where the network is open to all: those that we chose keep the rest."""

    useful: Share = Share(0.15, 1.0)
    """For those of them that are of use. The peer that others start from has dialled nobody: it would else hear of blocks many
    seconds late while fifty outsiders ask for what is costly."""


class _Allowance:
    """One share, and those who have it in common."""

    def __init__(self, share: Share, now: float) -> None:
        self.spenders = 0
        self._share = share.share
        self._bucket = TokenBucket(share.share, share.burst, now)

    def spend(self, seconds: float, now: float) -> float:
        """How long who has used so much should rest: while there is not enough, each may use an equal part."""
        return 0.0 if self._bucket.spend(seconds, now) else seconds * max(self.spenders, 1) / self._share


@dataclass(slots=True)
class _Account:
    allowances: tuple[_Allowance, ...]
    link: _Allowance | None = None
    """Of an outsider: the share of our link."""
    counted_bytes: int = 0
    """Of its connection: up to here they are paid."""
    counted_frames: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """What a connection has carried on a peer's account since it was made: its frames, and our answers."""

    frames: int
    bytes: int


class Costs:
    """The accounts of all connected peers. Times are in seconds, of any clock that does not go back."""

    def __init__(self, limits: CostLimits, members: int, now: float) -> None:
        """`members`: how many there are; 0 where the network is open to all."""
        self._limits = limits
        self._member = replace(limits.liars, share=limits.liars.share / max(1, faulty_max(members)))
        self._outsiders = _Allowance(limits.outsiders if members else limits.outsiders_of_open, now)
        self._chosen = _Allowance(limits.all_chosen, now)
        self._useful = _Allowance(limits.useful, now)
        self._link = _Allowance(limits.outsiders_bytes, now)
        self._groups: OrderedDict[str, _Allowance] = OrderedDict()
        """Kept when all of a subnet have left: who comes again finds what it has overdrawn."""
        self._accounts: dict[PeerId, _Account] = {}

    def on_peer_joined(self, peer: PeerId, role: PeerRole, group: str | None, now: float) -> None:
        """A peer is connected. `group`: its subnet; None on this machine, where only keys tell peers apart."""
        assert peer not in self._accounts, "a peer joins once"
        limits = self._limits
        match role:
            case PeerRole.MEMBER:
                account = _Account((_Allowance(self._member, now),))
            case PeerRole.CHOSEN:
                account = _Account((_Allowance(limits.chosen, now), self._chosen))
            case PeerRole.OUTSIDER:
                shared = (self._outsiders,) if group is None else (self._outsiders, self._group(group, now))
                account = _Account((_Allowance(limits.outsider, now), *shared), self._link)
                self._link.spenders += 1
        for allowance in account.allowances:
            allowance.spenders += 1
        self._accounts[peer] = account

    def favour(self, useful: Collection[PeerId]) -> None:
        """Of all that came by themselves these are of use: they have a share of their own, and the others theirs."""
        for peer, account in self._accounts.items():
            old, new = (self._outsiders, self._useful) if peer in useful else (self._useful, self._outsiders)
            if old in account.allowances:
                account.allowances = tuple(new if allowance is old else allowance for allowance in account.allowances)
                old.spenders -= 1
                new.spenders += 1

    def on_peer_left(self, peer: PeerId) -> None:
        """It is gone."""
        account = self._accounts.pop(peer)
        for allowance in (*account.allowances, account.link):
            if allowance is not None:
                allowance.spenders -= 1

    def charge(self, peer: PeerId, working_seconds: float, moved: Moved, now: float) -> float:
        """Put on its account what a frame of this peer has cost; how many seconds it should rest before the next.

        `working_seconds` are a clock's, not the processor's: where our thread has to wait for its turn, so does all else.
        """
        account = self._accounts.get(peer)
        if account is None:  # it was disconnected by what it said
            return 0.0
        frames, bytes_moved = moved.frames - account.counted_frames, moved.bytes - account.counted_bytes
        account.counted_frames, account.counted_bytes = moved.frames, moved.bytes
        seconds = working_seconds + frames * FRAME_SECONDS + bytes_moved * BYTE_SECONDS
        rests = [allowance.spend(seconds, now) for allowance in account.allowances]
        if account.link is not None:
            rests.append(account.link.spend(bytes_moved, now))
        return min(REST_SECONDS_MAX, max(rests))

    def _group(self, group: str, now: float) -> _Allowance:
        allowance = self._groups.pop(group, None) or _Allowance(self._limits.group, now)
        self._groups[group] = allowance
        if len(self._groups) > GROUPS_KEPT_MAX:
            idle = next((name for name, other in self._groups.items() if other is not allowance and not other.spenders), None)
            if idle is not None:
                del self._groups[idle]
        return allowance
