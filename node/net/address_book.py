"""Whom to dial, and when: a bounded address book, back-off, and the rules for refused and doubled connections.

Addresses that one person can have at little cost count together, wherever outsiders are counted.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from random import Random
from typing import Generic, TypeVar

from consensus.types import PeerId
from node.common.address import Address
from node.common.bounded import BoundedMap, RecentSet

GROUP_BITS_IPV4 = 24
"""What is rented or routed as one: an attacker has one such net more often than addresses spread over many."""

GROUP_BITS_IPV6 = 48
"""What a customer gets who asks for it, at no cost (RFC 6177; tunnel brokers too): 65,536 of the nets below."""

SITE_BITS_IPV6 = 64
"""The least that one customer is given: within it every machine has as many addresses as it likes."""


def group_of(host: str) -> str | None:
    """The subnet that an address counts with: its IPv4 /24 or its IPv6 /48, as text; None on this machine, and for a name.

    A private IPv4 address is a group of its own: a local network is one subnet, and its machines have no other. Peers on one
    machine share its loopback address: whoever counts them has to tell them apart by their keys.
    """
    address = _ip_address(host)
    if address is None or address.is_loopback:
        return None
    if isinstance(address, IPv4Address):
        return str(address) if address.is_private else _network(address, GROUP_BITS_IPV4)
    return _network(address, GROUP_BITS_IPV6)


def site_of(host: str) -> str | None:
    """Who is blamed for what an address has done: that IPv4 address alone, or the IPv6 /64; None on this machine."""
    address = _ip_address(host)
    if address is None or address.is_loopback:
        return None
    return str(address) if isinstance(address, IPv4Address) else _network(address, SITE_BITS_IPV6)


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    """An IPv6 address that only stands for an IPv4 one is that: mapped (RFC 4291), 6to4 (RFC 3056) or Teredo (RFC 4380)."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo is not None else address)


def _network(address: IPv4Address | IPv6Address, bits: int) -> str:
    return str(ip_network((address, bits), strict=False))


Item = TypeVar("Item")


ADDRESSES_KNOWN_MAX = 1_024
"""A thousand peers to choose eight from; about 200 kB."""

ADDRESSES_PER_SOURCE_MAX = 64
"""One answer's worth: no single source can fill more than a sixteenth of the book.

Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", USENIX Security 2015.
"""

LEARNED_FAILURES_MAX = 5
"""A learned address that fails this often in a row is forgotten; one that the user gave is tried for ever."""

STABLE_SECONDS = 10.0
"""A connection that lived this long was a success: the back-off starts anew. A shorter one counts as a failure."""

OWN_ADDRESSES_MAX = 64
"""Addresses that turned out to be ourselves."""


NO_GROUPS: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting times between attempts, in seconds: doubled each time, times a random factor in [0.5, 1]."""

    first_seconds: float = 1.0
    max_seconds: float = 60.0
    member_max_seconds: float = 8.0
    """Between two attempts at a member, or at an address that the user gave where there are members: a total order may wait
    for it. A few dials a second, should half of 64 members be away."""

    def wait(self, failures: int, random: Random, max_seconds: float) -> float:
        """How long to wait after this many failures in a row, at least one; at most `max_seconds`."""
        longest = min(max_seconds, self.first_seconds * 2.0 ** min(failures - 1, 32))
        return longest * random.uniform(0.5, 1.0)


@dataclass(slots=True)
class _Entry:
    source: str | None
    """Who told us; None: the user."""
    peer: PeerId | None = None
    """Who answered there last, proven."""
    failures: int = 0
    next_attempt: float = 0.0
    is_busy: bool = False
    """Being dialled, or connected by our dial."""
    is_own: bool = False
    """Our own key was proven there when it was last dialled."""


class AddressBook:
    """Addresses, and when to dial which. Times are in seconds, of any clock that does not go back."""

    def __init__(
        self,
        configured: Collection[Address],
        random: Random,
        backoff: Backoff,
        *,
        members: frozenset[PeerId] = frozenset(),
        per_group_max: int = 2,
    ) -> None:
        """`per_group_max`: of learned addresses in one subnet, how many are dialled at once."""
        self._random = random
        self._backoff = backoff
        self._members = members
        self._per_group_max = per_group_max
        self._entries: dict[Address, _Entry] = {address: _Entry(None) for address in configured}
        self._own: RecentSet[Address] = RecentSet(OWN_ADDRESSES_MAX)

    def learn(self, address: Address, source: str, is_local_source: bool) -> bool:
        """Take a hint from `source`; whether it is new and was kept.

        Only a source on this machine may name an address on this machine.
        """
        if address in self._entries or address in self._own or not is_dialable(address, is_local_source):
            return False
        if sum(entry.source == source for entry in self._entries.values()) >= ADDRESSES_PER_SOURCE_MAX:
            return False
        if len(self._entries) >= ADDRESSES_KNOWN_MAX and not self._evict():
            return False
        self._entries[address] = _Entry(source)
        return True

    def due(
        self, now: float, avoided: Collection[PeerId], wanted: int, groups: Mapping[str, int] = NO_GROUPS
    ) -> tuple[Address, ...]:
        """Up to `wanted` addresses to dial now, the user's first, then members'; they are busy until told how it went.

        `groups`: how many of our outbound connections each subnet has; others' hints lead to no more than a few there.
        While one of the user's is away, the last place is kept free for it: or outsiders would take it, and never leave.
        """
        if wanted <= 0:
            return ()
        away = [
            (address, entry)
            for address, entry in self._entries.items()
            if not entry.is_busy and (entry.peer is None or entry.peer not in avoided)
        ]
        ready = [pair for pair in away if pair[1].next_attempt <= now]
        given = [pair for pair in ready if pair[1].source is None]
        learned = [pair for pair in ready if pair[1].source is not None]
        self._random.shuffle(learned)
        learned.sort(key=lambda pair: pair[1].peer not in self._members)
        learned = self._within_shares(learned, groups, wanted)
        is_place_kept = any(entry.source is None and entry.next_attempt > now and not entry.is_own for _, entry in away)
        chosen = given[:wanted] + learned[: max(wanted - len(given) - is_place_kept, 0)]
        for _, entry in chosen:
            entry.is_busy = True
        return tuple(address for address, _ in chosen)

    def _within_shares(
        self, learned: list[tuple[Address, _Entry]], groups: Mapping[str, int], count_max: int
    ) -> list[tuple[Address, _Entry]]:
        """The first so many whose subnet has not had its share; members are who they are, wherever they live."""
        counts = Counter(groups)
        chosen: list[tuple[Address, _Entry]] = []
        for address, entry in learned:
            if len(chosen) == count_max:
                break
            group = group_of(address.host)
            if group is not None and entry.peer not in self._members:
                counts[group] += 1
                if counts[group] > self._per_group_max:
                    continue
            chosen.append((address, entry))
        return chosen

    def on_answer(self, address: Address, peer: PeerId) -> None:
        """`peer` has proven that it listens there."""
        entry = self._entries[address]
        entry.peer, entry.is_own = peer, False

    def on_failure(self, address: Address, now: float, is_lasting: bool = False) -> float | None:
        """The dial failed; seconds until the next attempt, None when the address was forgotten.

        `is_lasting`: as with another network, trying again soon is of no use.
        """
        entry = self._entries[address]
        entry.is_busy = False
        entry.failures += 1
        if entry.source is not None and (is_lasting or entry.failures >= LEARNED_FAILURES_MAX):
            del self._entries[address]
            return None
        wait = self._backoff.max_seconds if is_lasting else self._wait(entry)
        entry.next_attempt = now + wait
        return wait

    def on_end(self, address: Address, now: float, lived_seconds: float) -> None:
        """The connection that we dialled is over."""
        entry = self._entries[address]
        entry.is_busy = False
        entry.failures = 0 if lived_seconds >= STABLE_SECONDS else entry.failures + 1
        entry.next_attempt = now + self._wait(entry)

    def on_declined(self, address: Address, now: float, is_welcome: bool = True) -> None:
        """Nothing failed, but there is no connection: the peer that answered is connected already, or refused.

        Or it is not welcome, since all places are for others: then it is asked seldom.
        """
        entry = self._entries[address]
        entry.is_busy = False
        entry.failures = 0
        entry.next_attempt = now + (self._wait(entry) if is_welcome else self._backoff.max_seconds)

    def _wait(self, entry: _Entry) -> float:
        is_members = entry.peer in self._members or (entry.source is None and bool(self._members))
        longest = self._backoff.max_seconds
        if is_members:
            longest = min(longest, self._backoff.member_max_seconds)
        return self._backoff.wait(max(entry.failures, 1), self._random, longest)

    def retry(self, peers: Collection[PeerId], now: float) -> None:
        """Dial these peers at the next chance, and every address of whom it is not known who answers there."""
        for entry in self._entries.values():
            if entry.peer is None or entry.peer in peers:
                entry.failures, entry.next_attempt = 0, now

    def is_ourselves(self, address: Address, now: float) -> bool:
        """Our own key was proven there; whether that is news. Never dial it again, unless the user gave it: then seldom.

        What the user gave may lead to another peer one day, as where an address is handed on.
        """
        entry = self._entries[address]
        is_news, entry.is_own = not entry.is_own, True
        if self.on_failure(address, now, is_lasting=True) is None:
            self._own.add(address)
        return is_news

    def is_configured(self, address: Address) -> bool:
        """Whether the user gave this address."""
        entry = self._entries.get(address)
        return entry is not None and entry.source is None

    def proven_addresses(self) -> tuple[Address, ...]:
        """Addresses where a peer of this network has answered."""
        return tuple(address for address, entry in self._entries.items() if entry.peer is not None and entry.failures == 0)

    def member_addresses(self) -> tuple[Address, ...]:
        """Addresses where a member has answered, whether or not it is away now."""
        return tuple(address for address, entry in self._entries.items() if entry.peer in self._members)

    def __len__(self) -> int:
        return len(self._entries)

    def _evict(self) -> bool:
        """Forget an address that never answered: of those that failed most, the oldest of the source that told us most."""
        counts = Counter(entry.source for entry in self._entries.values())
        unproven = [
            (address, (entry.failures, counts[entry.source]))
            for address, entry in self._entries.items()
            if entry.source is not None and entry.peer is None and not entry.is_busy
        ]
        if not unproven:
            return False
        worst, _ = max(unproven, key=lambda pair: pair[1])
        del self._entries[worst]
        return True


class Refusals(Generic[Item]):
    """Who is refused until when; the oldest refusal is forgotten when there are too many."""

    def __init__(self, seconds: float, count_max: int) -> None:
        self._seconds = seconds
        self._until: BoundedMap[Item, float] = BoundedMap(count_max)

    def add(self, item: Item, now: float) -> None:
        """Refuse it from now on."""
        self._until.renew(item, now + self._seconds)

    def holds(self, item: Item, now: float) -> bool:
        """Whether it is refused now."""
        return (self._until.get(item) or now) > now

    def current(self, now: float) -> frozenset[Item]:
        """All that are refused now."""
        return frozenset(item for item, until in self._until.items() if until > now)


def keeps_existing(ours: PeerId, theirs: PeerId, is_existing_outbound: bool) -> bool:
    """Whether a listener keeps the connection it has to a peer that has now dialled it too.

    When both dial at the same time, the connection dialled by the lower key stays. When the same peer dials twice, it has lost
    the first connection before we noticed, so the new one stays. (A dialer yields to any existing one before it proves itself.)
    """
    return is_existing_outbound and ours < theirs


def canonical_host(text: str) -> str | None:
    """The one spelling of an IP address; None when it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, where peers are told apart by their keys only."""
    return host == "localhost" or (canonical_host(host) is not None and ip_address(host).is_loopback)


def is_dialable(address: Address, is_local_source: bool) -> bool:
    """Whether an address that `source` told us is worth a dial: a plain IP address, reachable from where the source is."""
    if canonical_host(address.host) != address.host or address.port == 0:
        return False
    parsed = ip_address(address.host)
    if parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local:
        return False
    return is_local_source or not parsed.is_loopback
