"""Who is connected, who is refused, and who gets a place."""

from collections.abc import Iterator

from consensus.types import PeerId
from node.net.channel import Channel
from node.net.contract import NetSettings
from node.net.handshake import Role
from node.net.link import Link
from node.net.peers import Address, Refusals, is_loopback, keeps_existing

REFUSALS_MAX = 4_096
"""Keys are free, so a refused one may be forgotten when thousands of others came after it."""

KEPT_APART = "kept apart"
"""What the other side is told, where we were told to have no connection to it."""


class Roster:
    """At most one link to each peer. Times are in seconds, of any clock that does not go back."""

    def __init__(self, identity: PeerId, settings: NetSettings) -> None:
        self.refused_peers: Refusals[PeerId] = Refusals(settings.refusal_seconds, REFUSALS_MAX)
        self.refused_hosts: Refusals[str] = Refusals(settings.refusal_seconds, REFUSALS_MAX)
        self.apart: frozenset[PeerId] = frozenset()
        """Whom we were told to have no connection to; nothing is wrong with them."""
        self._identity = identity
        self._settings = settings
        self._links: dict[PeerId, Link] = {}

    def __iter__(self) -> Iterator[Link]:
        return iter(tuple(self._links.values()))

    def get(self, peer: PeerId) -> Link | None:
        """The link to a peer, when it is connected."""
        return self._links.get(peer)

    def add(self, link: Link) -> None:
        """Enter a link; there must be no other to that peer."""
        assert link.peer not in self._links, "one link to each peer"
        self._links[link.peer] = link

    def remove(self, link: Link) -> bool:
        """Strike a link out; False when another has taken its place before."""
        if self._links.get(link.peer) is not link:
            return False
        del self._links[link.peer]
        return True

    def in_role(self, role: Role) -> tuple[Link, ...]:
        """The links where we play this role: LISTENER are the inbound ones."""
        return tuple(link for link in self._links.values() if link.channel.role is role)

    def avoided(self, now: float) -> frozenset[PeerId]:
        """Whom not to dial: who is connected, refused or kept apart."""
        return self.refused_peers.current(now) | self.apart | self._links.keys()

    def listening_addresses(self) -> tuple[Address, ...]:
        """Where the connected peers can be dialled."""
        return tuple(link.listening_address for link in self._links.values() if link.listening_address is not None)

    def blame_host(self, host: str, now: float) -> None:
        """Refuse a host for what somebody unauthenticated did there; never this machine, where many peers may live."""
        if not is_loopback(host):
            self.refused_hosts.add(host, now)

    def reason_against_inbound(self, channel: Channel, peer: PeerId, now: float) -> str | None:
        """Why a peer that has proven its key does not get a place; None when it does."""
        if self.refused_peers.holds(peer, now):
            return "refused for a time"
        if peer in self.apart:
            return KEPT_APART
        existing = self._links.get(peer)
        if existing is not None:
            is_existing_outbound = existing.channel.role is Role.DIALER
            return "connected already" if keeps_existing(self._identity, peer, is_existing_outbound) else None
        inbound = self.in_role(Role.LISTENER)
        if len(inbound) >= self._settings.inbound_max:
            return f"no free place: {len(inbound)} inbound connections"
        host = channel.remote.host
        if (
            not is_loopback(host)
            and sum(link.channel.remote.host == host for link in inbound) >= self._settings.inbound_per_host_max
        ):
            return "no free place for this host"
        return None
