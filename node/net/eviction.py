"""Who gives up an inbound place for a newcomer: nobody who is of use, or costly to be; else the youngest of the largest subnet.

The rule of Bitcoin Core's SelectNodeToEvict (src/node/eviction.cpp; analysed by Heilman et al., "Eclipse Attacks on Bitcoin's
Peer-to-Peer Network", USENIX Security 2015): each kind of protection costs an attacker something else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from consensus.types import PeerId

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
