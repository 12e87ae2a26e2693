"""Who is connected, who is refused, and who gets a place: members before all, then whoever is of use.

Who gives up an inbound place for a newcomer: nobody who is of use, or costly to be; else the youngest of the largest subnet.
The rule is that of Bitcoin Core's SelectNodeToEvict (src/node/eviction.cpp; analysed by Heilman et al., "Eclipse Attacks on
Bitcoin's Peer-to-Peer Network", USENIX Security 2015): each kind of protection costs an attacker something else.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from consensus.types import PeerId
from node.net.address_book import Refusals, group_of, keeps_existing, site_of
from node.net.channel import Channel
from node.net.connection import Connection, Disconnect
from node.net.handshake import Role
from node.net.network_interface import NetSettings

PROTECTED_GROUPS = 4
"""By a secret order of subnets: nobody can know which ones to be in."""

PROTECTED_NEAREST = 8
"""By the least time to answer: nobody can be nearer than it is."""

PROTECTED_USEFUL = 8
"""By the newest message that was worth passing on: nobody can bring one without work."""

PROTECTED_PART_OF_OLDEST = 2
"""One in so many of the rest, the longest connected: what begins later does not reach those."""


@dataclass(frozen=True, slots=True)
class InboundPeer:
    """Somebody with an inbound place. Times are in seconds, of one clock."""

    peer: PeerId
    group: str
    """Its subnet; a name of its own where it has none."""
    connected_at: float
    answer_seconds: float
    """How long it took to answer in the handshake."""
    useful_at: float
    """When it last brought something new that was worth passing on; minus infinity: never."""


def whom_to_evict(candidates: Sequence[InboundPeer], secret: bytes) -> PeerId | None:
    """None: everybody here is worth keeping. The order of the candidates does not matter."""
    left = sorted(candidates, key=lambda candidate: candidate.peer)
    left = _without_first(left, PROTECTED_GROUPS, lambda candidate: _keyed_hash(candidate.group, secret))
    left = _without_first(left, PROTECTED_NEAREST, lambda candidate: candidate.answer_seconds)
    useful = [candidate for candidate in left if candidate.useful_at > float("-inf")]
    kept = sorted(useful, key=lambda candidate: -candidate.useful_at)[:PROTECTED_USEFUL]
    left = [candidate for candidate in left if candidate not in kept]
    left = _without_first(left, len(left) // PROTECTED_PART_OF_OLDEST, lambda candidate: candidate.connected_at)
    return _youngest_of_largest_group(left)


def _youngest_of_largest_group(candidates: Sequence[InboundPeer]) -> PeerId | None:
    """Of equally large groups the one that has grown last."""
    groups: dict[str, list[InboundPeer]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.group, []).append(candidate)
    if not groups:
        return None
    youngest = [(len(group), max(group, key=lambda candidate: candidate.connected_at)) for group in groups.values()]
    return max(youngest, key=lambda pair: (pair[0], pair[1].connected_at))[1].peer


def _without_first(
    candidates: Sequence[InboundPeer], count: int, key: Callable[[InboundPeer], float | bytes]
) -> list[InboundPeer]:
    return sorted(candidates, key=key)[count:]


def _keyed_hash(group: str, secret: bytes) -> bytes:
    return blake2b(group.encode(), key=secret, digest_size=16).digest()


REFUSALS_MAX = 4_096
"""Keys are free, so a refused one may be forgotten when thousands of others came after it."""

KEPT_APART = "kept apart"
"""What the other side is told, where we were told to have no connection to it."""

FAVOURED_MAX = 8
"""As many as are kept for their use when places are short."""

USEFUL_SECONDS = 300.0
"""Of use is who was the first to bring something worth passing on within so long."""

GAVE_WAY = "its place was given to another"
"""What the other side is told, where a member or a more useful peer has come."""


class Connections:
    """At most one link to each peer. Times are in seconds, of any clock that does not go back."""

    def __init__(self, identity: PeerId, settings: NetSettings, secret: bytes, useful_at: Callable[[PeerId], float]) -> None:
        """`secret`: known to nobody else; `useful_at`: when a connected peer last brought something of use."""
        self.refused_peers: Refusals[PeerId] = Refusals(settings.refusal_seconds, REFUSALS_MAX)
        self.refused_hosts: Refusals[str] = Refusals(settings.refusal_seconds, REFUSALS_MAX)
        self.apart: frozenset[PeerId] = frozenset()
        """Whom we were told to have no connection to; nothing is wrong with them."""
        self._identity = identity
        self._settings = settings
        self._secret = secret
        self._useful_at = useful_at
        self._links: dict[PeerId, Connection] = {}
        self._member_sites: dict[PeerId, str | None] = {}
        """From where each member was last connected: what others do there is not held against it."""

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._links.values()))

    def get(self, peer: PeerId) -> Connection | None:
        """The link to a peer, when it is connected."""
        return self._links.get(peer)

    def add(self, link: Connection) -> None:
        """Enter a link; there must be no other to that peer."""
        assert link.peer not in self._links, "one link to each peer"
        self._links[link.peer] = link
        if link.peer in self._settings.members:
            self._member_sites[link.peer] = site_of(link.channel.remote.host)

    def remove(self, link: Connection) -> bool:
        """Strike a link out; False when another has taken its place before."""
        if self._links.get(link.peer) is not link:
            return False
        del self._links[link.peer]
        return True

    def in_role(self, role: Role) -> tuple[Connection, ...]:
        """The links where we play this role, and that go on: LISTENER are the inbound ones."""
        return tuple(link for link in self._links.values() if link.channel.role is role and not link.is_over)

    def is_member(self, peer: PeerId) -> bool:
        """Whether it has a part in the total order."""
        return peer in self._settings.members

    def avoided(self, now: float) -> frozenset[PeerId]:
        """Whom not to dial: who is connected, refused or kept apart."""
        return self.refused_peers.current(now) | self.apart | self._links.keys()

    def blame_host(self, host: str, now: float) -> None:
        """Refuse a host for what somebody unauthenticated did there; never this machine, or where a member lives."""
        site = site_of(host)
        if site is not None and site not in self._member_sites.values():
            self.refused_hosts.add(site, now)

    def is_host_refused(self, host: str, now: float) -> bool:
        """Whether whoever comes from there is turned away before any handshake."""
        site = site_of(host)
        return site is not None and self.refused_hosts.holds(site, now)

    def has_outbound_place(self, peer: PeerId) -> bool:
        """Whether a peer that we dialled may stay: outsiders take none of the places that members need."""
        if self.is_member(peer) or not self._settings.members:
            return True
        outsiders = sum(not self.is_member(link.peer) for link in self.in_role(Role.DIALER))
        return outsiders < self._settings.outbound_target - len(self._settings.members)

    def outbound_groups(self) -> Counter[str]:
        """How many of those that we dialled are in each subnet."""
        return Counter(_groups(self.in_role(Role.DIALER)))

    def useful_inbound(self, now: float) -> frozenset[PeerId]:
        """Who came by itself and is of use: the longest connected, since who comes to be costly can relay something, too."""
        useful = [link for link in self.in_role(Role.LISTENER) if now - self._useful_at(link.peer) <= USEFUL_SECONDS]
        return frozenset(link.peer for link in sorted(useful, key=lambda link: link.connected_at)[:FAVOURED_MAX])

    def reason_against_inbound(self, channel: Channel, peer: PeerId, now: float) -> str | None:
        """Why a peer that has proven its key does not get a place; None when it does, and then another may have to go."""
        if self.refused_peers.holds(peer, now):
            return "refused for a time"
        if peer in self.apart:
            return KEPT_APART
        existing = self._links.get(peer)
        if existing is not None:
            is_existing_outbound = existing.channel.role is Role.DIALER
            return "connected already" if keeps_existing(self._identity, peer, is_existing_outbound) else None
        inbound = self.in_role(Role.LISTENER)
        outsiders = [link for link in inbound if not self.is_member(link.peer)]
        is_full = len(inbound) >= self._settings.inbound_max
        if self.is_member(peer):
            if is_full and outsiders:
                self._evict(self._least_useful(outsiders) or max(outsiders, key=lambda link: link.connected_at).peer)
            return None
        group = group_of(channel.remote.host)
        if group is not None and Counter(_groups(outsiders))[group] >= self._settings.inbound_per_group_max:
            return "no free place for this subnet"
        if is_full:
            evicted = self._least_useful(outsiders)
            if evicted is None:
                return f"no free place: {len(inbound)} inbound connections"
            self._evict(evicted)
        return None

    def _least_useful(self, links: Iterable[Connection]) -> PeerId | None:
        """None: nobody who should go."""
        candidates = [
            InboundPeer(
                link.peer,
                group_of(link.channel.remote.host) or link.peer.hex(),
                link.connected_at,
                link.channel.answer_seconds,
                self._useful_at(link.peer),
            )
            for link in links
        ]
        return whom_to_evict(candidates, self._secret)

    def _evict(self, peer: PeerId) -> None:
        self._links[peer].stop(Disconnect(GAVE_WAY, is_ours=True))


def _groups(links: Iterable[Connection]) -> Iterator[str]:
    """The subnets of links, those of this machine left out."""
    for link in links:
        group = group_of(link.channel.remote.host)
        if group is not None:
            yield group
