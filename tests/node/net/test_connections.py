"""An inbound place is won by being of use, or by what an attacker cannot have in plenty.

Members of a total order come first; over real sockets, where outsiders have taken all there is.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.types import PeerId
from node.common.address import Address
from node.net.channel import Channel
from node.net.connection import Connection
from node.net.connections import GAVE_WAY, USEFUL_SECONDS, Connections, InboundPeer, whom_to_evict
from node.net.handshake import Role
from node.net.network_interface import NetSettings
from tests.node.net.example_peers import IMPATIENT, QUICK, Node, identity_of, node_of, outsider_at, play, running, until

NEVER = float("-inf")
SECRET = b"secret"


def crowd(count: int, group: str = "203.0.113.0/24", first: int = 0, **changes: float) -> list[InboundPeer]:
    """Idle and slow, one after the other."""
    return [
        InboundPeer(
            PeerId(number.to_bytes(32, "big")),
            group,
            changes.get("connected_at", 1_000.0 + number),
            changes.get("answer_seconds", 1.0 + number),
            changes.get("useful_at", NEVER),
        )
        for number in range(first, first + count)
    ]


def evicted_in_turn(candidates: list[InboundPeer]) -> list[InboundPeer]:
    """Whoever is put out, one after the other, until everybody left is worth keeping."""
    left, gone = list(candidates), []
    while (peer := whom_to_evict(left, SECRET)) is not None:
        gone += [candidate for candidate in left if candidate.peer == peer]
        left = [candidate for candidate in left if candidate.peer != peer]
    return gone


def test_a_few_are_all_worth_keeping_and_a_crowd_is_not() -> None:
    assert whom_to_evict(crowd(12), SECRET) is None
    assert whom_to_evict(crowd(64), SECRET) is not None
    assert whom_to_evict([], SECRET) is None


def test_the_youngest_of_the_largest_subnet_goes() -> None:
    spread = [crowd(1, f"198.51.{number}.0/24", 100 + number)[0] for number in range(20)]
    dense = crowd(44)
    assert whom_to_evict([*spread, *dense], SECRET) in {candidate.peer for candidate in dense}
    left = [candidate for candidate in dense if candidate.peer == whom_to_evict([*spread, *dense], SECRET)]
    others = [candidate for candidate in dense if candidate.connected_at > left[0].connected_at]
    assert len(others) <= 4, "only those of a drawn subnet are younger and stay"


def test_who_is_near_useful_or_long_here_stays_however_many_come() -> None:
    near = crowd(3, "198.51.100.0/24", 900, answer_seconds=0.001, connected_at=5_000.0)
    useful = crowd(3, "198.51.101.0/24", 910, useful_at=4_000.0, connected_at=5_000.0, answer_seconds=90.0)
    old = crowd(3, "198.51.102.0/24", 920, connected_at=1.0, answer_seconds=90.0)
    outsiders = crowd(55)
    gone = evicted_in_turn([*near, *useful, *old, *outsiders])
    assert gone
    assert {candidate.group for candidate in gone} == {"203.0.113.0/24"}


def test_an_attacker_with_one_subnet_cannot_put_out_those_of_others_who_were_here() -> None:
    """However often it comes again, and however near it is: what begins later does not reach who was here."""
    honest = [crowd(1, f"198.51.{number}.0/24", 100 + number, connected_at=10.0 + number)[0] for number in range(30)]
    places = [*honest, *crowd(34, answer_seconds=0.0001, connected_at=100.0)]
    for number in range(200):
        peer = whom_to_evict(places, SECRET)
        places = [candidate for candidate in places if candidate.peer != peer]
        places += crowd(1, first=10_000 + number, answer_seconds=0.0001, connected_at=2_000.0 + number)
    assert set(honest) <= set(places)


@given(st.integers(0, 100), st.integers(0, 2**32))
def test_the_order_of_the_candidates_does_not_matter(count: int, seed: int) -> None:
    random = Random(seed)
    candidates = [
        InboundPeer(
            PeerId(number.to_bytes(32, "big")),
            f"group {random.randrange(6)}",
            float(random.randrange(5)),
            float(random.randrange(5)),
            random.choice((NEVER, 1.0, 2.0)),
        )
        for number in range(count)
    ]
    shuffled = random.sample(candidates, count)
    assert whom_to_evict(candidates, SECRET) == whom_to_evict(shuffled, SECRET)
    assert (whom_to_evict(candidates, SECRET) is None) <= (count <= 21)


MEMBERS = frozenset(identity_of(number).peer for number in (1, 2, 3, 4))
OF_FOUR = replace(QUICK, members=MEMBERS, inbound_max=5)


@asynccontextmanager
async def idle_outsiders(node: Node, first: int, count: int) -> AsyncIterator[set[PeerId]]:
    """So many places are taken by peers that say nothing."""
    async with AsyncExitStack() as stack:
        for number in range(first, first + count):
            outsider = await stack.enter_async_context(outsider_at(node))
            await outsider.shake(identity_of(number))
        peers = {identity_of(number).peer for number in range(first, first + count)}
        await until(lambda: peers <= node.connected)
        yield peers


def test_members_get_in_whoever_has_taken_the_places_and_outsiders_are_put_out_for_them() -> None:
    async def scenario() -> None:
        ann = node_of(1, settings=OF_FOUR)
        async with running(ann), idle_outsiders(ann, 100, 5) as outsiders:
            async with outsider_at(ann) as another:
                await another.shake(identity_of(200))
                assert (await another.end()).startswith("no free place")
            others = [node_of(number, (ann.address,), settings=OF_FOUR) for number in (2, 3, 4)]
            async with running(*others):
                await until(lambda: {node.identity.peer for node in others} <= ann.connected)
                await until(lambda: len(ann.connected & outsiders) == 2)

    play(scenario)


def test_who_gives_way_is_told_why_and_is_not_refused() -> None:
    async def scenario() -> None:
        ann = node_of(1, settings=replace(OF_FOUR, inbound_max=1))
        async with running(ann), outsider_at(ann) as outsider:
            await outsider.shake(identity_of(100))
            await until(lambda: ann.connected)
            async with running(node_of(2, (ann.address,), settings=OF_FOUR)):
                assert await outsider.end() == GAVE_WAY
                await until(lambda: ann.connected == {identity_of(2).peer})
            assert ann.network.refused_peers() == frozenset()
            assert ann.notes == []

    play(scenario)


def test_more_members_than_places_all_get_in() -> None:
    async def scenario() -> None:
        ann = node_of(1, settings=replace(OF_FOUR, inbound_max=1))
        async with running(ann):
            others = [node_of(number, (ann.address,), settings=OF_FOUR) for number in (2, 3, 4)]
            async with running(*others):
                await until(lambda: {node.identity.peer for node in others} <= ann.connected)

    play(scenario)


def test_outsiders_that_we_dial_leave_the_places_of_members_free() -> None:
    """Many more outsiders' addresses are known than there are places; the only member's comes last."""

    async def scenario() -> None:
        outsiders = [node_of(number) for number in range(10, 18)]
        ben = node_of(2, settings=OF_FOUR)
        async with running(ben, *outsiders):
            settings = replace(
                OF_FOUR,
                outbound_target=5,
                remembered=tuple(outsider.address for outsider in outsiders),
                address_exchange_seconds=0.1,
            )
            ann = node_of(1, settings=settings)
            async with running(ann):
                await until(lambda: ann.connected)
                await asyncio.sleep(1.0)
                assert len(ann.connected & {outsider.identity.peer for outsider in outsiders}) == 1
                async with running(node_of(20, (ben.address, ann.address), settings=QUICK)):
                    await until(lambda: ben.identity.peer in ann.connected, 10.0)

    play(scenario)


@pytest.mark.parametrize("is_member", [True, False])
def test_what_others_do_where_a_member_lives_is_not_held_against_it(is_member: bool) -> None:
    settings = replace(IMPATIENT, members=MEMBERS) if is_member else IMPATIENT
    connections = Connections(identity_of(1).peer, settings, b"secret", lambda _: 0.0)
    connections.add(link_from("203.0.114.7", identity_of(2).peer))
    connections.blame_host("203.0.114.7", 0.0)
    connections.blame_host("203.0.114.8", 0.0)
    connections.blame_host("2a00:1:2:3::7", 0.0)
    hosts = ("203.0.114.7", "203.0.114.8", "203.0.114.9", "2a00:1:2:3::8", "2a00:1:2:4::7")
    assert [connections.is_host_refused(host, 1.0) for host in hosts] == [not is_member, True, False, True, False]


def test_a_subnet_has_few_places_and_members_do_not_count() -> None:
    connections = Connections(
        identity_of(1).peer, NetSettings(members=MEMBERS, inbound_per_group_max=2), b"secret", lambda _: 0.0
    )
    for number, host in ((2, "203.0.114.1"), (3, "203.0.114.1"), (10, "203.0.114.1"), (11, "203.0.114.2")):
        assert connections.reason_against_inbound(channel_from(host), identity_of(number).peer, 0.0) is None
        connections.add(link_from(host, identity_of(number).peer))
    reason = connections.reason_against_inbound(channel_from("203.0.114.3"), identity_of(12).peer, 0.0)
    assert reason == "no free place for this subnet"
    assert connections.reason_against_inbound(channel_from("203.0.114.3"), identity_of(4).peer, 0.0) is None
    assert connections.reason_against_inbound(channel_from("203.0.115.3"), identity_of(12).peer, 0.0) is None


def test_one_machine_with_many_addresses_cannot_keep_a_place_from_another() -> None:
    """Open to all: sixty-four idle places, eight from each of eight addresses, none of which did anything."""
    connections = Connections(identity_of(1).peer, NetSettings(), b"secret", lambda _: float("-inf"))
    for number in range(64):
        connections.add(link_from(f"10.231.0.{number % 8 + 1}", identity_of(100 + number).peer, connected_at=float(number)))
    random = Random(7)
    for number in range(20):
        host = f"198.51.{random.randrange(100, 200)}.{number}"
        peer = identity_of(500 + number).peer
        assert connections.reason_against_inbound(channel_from(host), peer, 100.0) is None
        (gone,) = [link for link in connections if link.is_over]
        assert gone.channel.remote.host.startswith("10.231.0.")
        connections.remove(gone)
        connections.add(link_from(host, peer, connected_at=100.0))


def test_favoured_are_the_longest_connected_of_those_that_were_of_use_lately() -> None:
    useful_at = {identity_of(number).peer: 50.0 * number for number in range(2, 30)}
    connections = Connections(identity_of(1).peer, NetSettings(), b"secret", useful_at.__getitem__)
    for peer, useful in useful_at.items():
        connections.add(link_from("203.0.114.1", peer, connected_at=-useful))
    now = 1_000.0
    assert connections.useful_inbound(now) == {identity_of(number).peer for number in range(22, 30)}
    assert connections.useful_inbound(now + USEFUL_SECONDS + 400.0) == {identity_of(number).peer for number in (28, 29)}


class Far:
    """A WebSocket of which only the other end's address matters."""

    def __init__(self, host: str) -> None:
        self._host = host

    def get_extra_info(self, name: str) -> object:
        return (self._host, 7_600) if name == "peername" else None


def channel_from(host: str) -> Channel:
    return Channel(Far(host), Role.LISTENER, None, lambda: 0.0, None)  # type: ignore[arg-type]


def link_from(host: str, peer: PeerId, connected_at: float = 0.0) -> Connection:
    class Known:
        hello = type("Hello", (), {"user_agent": ""})

        def __init__(self) -> None:
            self.peer = peer

    return Connection(Known(), channel_from(host), Address(host, 7_600), None, connected_at)  # type: ignore[arg-type]
