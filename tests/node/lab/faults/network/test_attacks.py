"""Each attack below all messages is noticed, or comes to nothing, and two honest peers stay connected meanwhile."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from consensus.types import PeerId
from node.common.address import Address
from node.lab.faults.catalogue import NETWORK_FAULTS, NetworkSituation, attacks_of, parse_faults
from node.lab.faults.network.attacks import VISITS
from node.lab.faults.network.frame_attacks import MALFORMED, OVERSIZED, Misbehave, misbehaving_in_turn
from node.lab.faults.network.situation import Attack
from node.lab.faults.network.unauthenticated_client import outsider_at, raid
from node.net.channel import ChannelClosedError
from node.net.dialer import UnreachableError
from node.net.gossip import Gossip
from node.net.rates import RateLimits
from node.net.transport import NetSettings
from tests.node.net.example_peers import IMPATIENT, NETWORK, QUICK, RULES, Node, identity_of, node_of, play, running, until


@asynccontextmanager
async def under_attack(fault: str, settings: NetSettings = QUICK) -> AsyncIterator[tuple[Node, Node]]:
    """Ann is attacked, and Ben is her friend, who is still there at the end."""
    ann = node_of(1, settings=settings)
    async with running(ann):
        ben = node_of(2, (ann.address,))
        async with running(ben):
            await until(lambda: ann.connected and ben.connected)
            async with attacked(ann, fault):
                yield ann, ben
            ann.network.broadcast(b"flood: still here")
            await until(lambda: b"flood: still here" in ben.inbox)
            assert ben.identity.peer in ann.connected
            assert ben.identity.peer not in ann.left


def situation_of(target: Node) -> NetworkSituation:
    return NetworkSituation(NETWORK, RULES, lambda: (Address(*target.address),), Random(7))


def at_doors_of(*targets: Node) -> NetworkSituation:
    return NetworkSituation(NETWORK, RULES, lambda: tuple(Address(*target.address) for target in targets), Random(7))


def attacked_until(fault: str, is_seen: Callable[[Node], object], settings: NetSettings = QUICK) -> None:
    async def scenario() -> None:
        async with under_attack(fault, settings) as (ann, _):
            await until(lambda: is_seen(ann))

    play(scenario)


def test_every_fault_of_the_catalogue_has_its_attack() -> None:
    assert [fault.name for fault in NETWORK_FAULTS] == list(VISITS)


def test_a_fault_of_another_family_attacks_nobody() -> None:
    situation = NetworkSituation(NETWORK, RULES, tuple, Random(7))
    assert attacks_of(parse_faults("mute+zero"), situation) == ()


@pytest.mark.parametrize("place", range(len(MALFORMED)))
def test_each_malformed_frame_costs_an_outsider_its_connection(place: int) -> None:
    offence = "answer that nobody asked for" if place == UNASKED else "malformed message"
    visited_until(MALFORMED[place], lambda ann: drops(ann) if place in UNSEALED else refusals(ann, offence))


UNASKED = 7
"""Of the malformed frames the one that is well-formed, and out of place."""

UNSEALED = (8, 9)
"""Those that whoever relays a connection can say: its end is all that they lead to."""


def drops(node: Node) -> list[str]:
    return [note for note in node.notes if note.startswith("dropped") and note.endswith("it need not be its own doing")]


def refusals(node: Node, offence: str) -> list[str]:
    return [note for note in node.notes if note.startswith("refused") and offence in note]


def visited_until(misbehave: Misbehave, is_seen: Callable[[Node], object]) -> None:
    """One outsider that misbehaves in this way alone."""

    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            visit = misbehaving_in_turn((misbehave,), situation_of(ann))
            async with going_on(raid(visit, situation_of(ann), outsiders=1, pause_seconds=0.1)):
                await until(lambda: is_seen(ann))

    play(scenario)


def test_too_large_a_frame_is_refused_by_its_length() -> None:
    is_told = "frame of 302 bytes, limit 256"
    visited_until(OVERSIZED[0], lambda ann: [note for note in refusals(ann, "oversized message") if is_told in note])
    visited_until(OVERSIZED[1], lambda ann: [note for note in drops(ann) if "exceeds limit" in note])


def test_each_outsider_misbehaves_in_the_next_way() -> None:
    count = len(MALFORMED)
    attacked_until(f"malformed-frames:outsiders={count}", lambda ann: refusals(ann, "answer that nobody asked for"))
    attacked_until("oversized-frames:outsiders=2", lambda ann: len(refusals(ann, "oversized message")) == len(OVERSIZED))


def test_a_flood_of_questions_is_cut_off() -> None:
    settings = replace(QUICK, rates=RateLimits(frames_per_second=50, frames_burst=100))
    attacked_until("message-flood:outsiders=2", lambda ann: len(refusals(ann, "more than 50 frames a second")) >= 2, settings)


def test_a_replayed_handshake_proves_nothing() -> None:
    attacked_until("handshake-replay", lambda ann: any("did not prove that it holds the key" in note for note in ann.notes))


def test_requests_that_are_none_are_hung_up_on_and_leave_no_line_in_a_log(caplog) -> None:
    async def scenario() -> None:
        async with under_attack("malformed-requests", QUICK) as (ann, _):
            await until(lambda: sum("was hung up on" in record.message for record in caplog.records) >= 10)
            assert ann.notes == []

    caplog.set_level(logging.DEBUG)
    play(scenario)
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


def test_who_asks_within_its_budget_is_answered_and_slowed_down_and_not_refused() -> None:
    async def scenario() -> None:
        async with under_attack("costly-questions:outsiders=4") as (ann, _):
            await until(lambda: len(ann.asked_parts) >= 8)
            assert len(ann.connected) == 5
            assert [note for note in ann.notes if "refused" in note] == []
            assert not ann.left

    play(scenario)


class Crowd:
    """Whose messages are not looked at: everybody but these."""

    def __init__(self, *heard: PeerId) -> None:
        self._heard = heard

    def __contains__(self, peer: PeerId) -> bool:
        return peer not in self._heard


MESSAGES = tuple(b"flood %d" % number for number in range(20))


async def relayed_past_outsiders() -> tuple[list[bytes], int]:
    """What Carl hears of Ann by way of Ben, while outsiders at both their doors are first; and how often they were."""
    lonely = replace(QUICK, outbound_target=1, address_exchange_seconds=600.0)
    ann = node_of(1, settings=lonely)
    async with running(ann):
        ben = node_of(2, (ann.address,), settings=lonely)
        async with running(ben):
            carl = node_of(3, (ben.address,), settings=lonely)
            carl.unheard = Crowd(ben.identity.peer)
            async with running(carl):
                await until(lambda: len(ben.connected) == 2 and ann.connected and carl.connected)
                (attack,) = attacks_of(parse_faults("first-relay:outsiders=8"), at_doors_of(ann, carl))
                async with going_on(attack):
                    await until(lambda: len(ann.connected) > 2 and len(carl.connected) > 2)
                    for message in MESSAGES:
                        ann.network.broadcast(message)
                        await asyncio.sleep(0.05)
                    await asyncio.sleep(1.0)
                    return carl.inbox, carl.passed_over


def test_messages_that_outsiders_bring_first_and_nobody_looks_at_come_from_honest_peers_all_the_same() -> None:
    async def scenario() -> None:
        heard, passed_over = await relayed_past_outsiders()
        assert sorted(heard) == sorted(MESSAGES)
        assert passed_over >= len(MESSAGES)

    play(scenario)


def test_if_what_was_passed_over_counted_as_seen_first_relays_would_keep_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        heard, _ = await relayed_past_outsiders()
        assert len(heard) < len(MESSAGES) / 2

    proper = Gossip.on_looked_at
    monkeypatch.setattr(Gossip, "on_looked_at", lambda gossip, peer, message, _, now: proper(gossip, peer, message, True, now))
    play(scenario)


def test_a_borrowed_name_proves_nothing_and_an_echo_is_not_taken_for_oneself(caplog) -> None:
    def said(text: str) -> int:
        return sum(text in record.message for record in caplog.records)

    async def scenario() -> None:
        settings = replace(QUICK, address_exchange_seconds=0.1)
        async with under_attack("borrowed-name", settings) as (ann, _):
            own = ann.identity.peer.hex()[:8]
            await until(lambda: said(f"said to be {own}") >= 2 and said("answered with the dialler's own hello") >= 4)
            assert sum("did not prove that it holds the key" in note for note in ann.notes) >= 1
            assert not any("own key" in note for note in ann.notes)

    caplog.set_level(logging.DEBUG)
    play(scenario)


def test_a_member_s_place_is_nobody_s_who_borrows_its_name(caplog) -> None:
    async def scenario() -> None:
        members = frozenset({identity_of(1).peer, identity_of(2).peer})
        ann, ben = (node_of(number, settings=replace(QUICK, members=members)) for number in (1, 2))
        (attack,) = attacks_of(parse_faults("borrowed-name:outsiders=16"), at_doors_of(ann, ben))
        async with running(ann, ben), going_on(attack):
            name = f"said to be {ben.identity.peer.hex()[:8]}"
            await until(lambda: sum(name in record.message for record in caplog.records) >= 3)
            await until(lambda: len(ann.joined) >= 4)
        assert ben.identity.peer not in ann.joined

    caplog.set_level(logging.DEBUG)
    play(scenario)


def test_an_outsider_of_another_network_is_told_so() -> None:
    attacked_until("foreign-network", lambda ann: any("runs another network" in note for note in ann.notes))


def test_false_addresses_are_asked_for_and_never_passed_on(caplog) -> None:
    async def scenario() -> None:
        async with under_attack("address-poisoning", replace(QUICK, address_exchange_seconds=0.05)) as (ann, ben):
            await until(lambda: sum("false addresses" in record.message for record in caplog.records) >= 4)
            assert ann.network.known_addresses() == (Address(*ben.address),)

    caplog.set_level(logging.DEBUG)
    play(scenario)


def test_outsiders_who_take_every_place_do_not_part_a_peer_from_one_that_its_user_named() -> None:
    """Not even when that one is away for a while: its place outlasts it."""
    settings = replace(QUICK, inbound_max=6, outbound_target=3, address_exchange_seconds=0.1)

    async def scenario() -> None:
        first_life = node_of(2)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(running(first_life))
            ann = node_of(1, (first_life.address,), settings=settings)
            bens_port = first_life.network.port
            async with running(ann), attacked(ann, "eclipse:outsiders=20"):
                await until(lambda: (len(places(ann, False)), len(places(ann, True))) == (6, 3), seconds=15.0)
                assert first_life.identity.peer in places(ann, True)
                await stack.aclose()
                await until(lambda: first_life.identity.peer in ann.left)
                await asyncio.sleep(0.5)
                ben = node_of(2, settings=replace(QUICK, listen_port=bens_port))
                async with running(ben):
                    await until(lambda: ben.identity.peer in places(ann, True))
                    assert len(places(ann, False)) == 6
                    ann.network.broadcast(b"flood: still here")
                    await until(lambda: b"flood: still here" in ben.inbox)

    play(scenario)


@asynccontextmanager
async def attacked(target: Node, fault: str) -> AsyncIterator[None]:
    """All the while."""
    (attack,) = attacks_of(parse_faults(fault), situation_of(target))
    async with going_on(attack):
        yield


@asynccontextmanager
async def going_on(attack: Attack) -> AsyncIterator[None]:
    task = asyncio.create_task(attack())
    try:
        yield
        assert not task.done(), "the attack has ended by itself"
    finally:
        task.cancel()
        await asyncio.wait((task,))


def places(node: Node, is_outbound: bool) -> set[PeerId]:
    """Who has a place that this node dialled for, or gave."""
    return {info.peer for info in node.network.peers() if info.is_outbound is is_outbound}


async def is_let_in(ann: Node) -> bool:
    """Whether a newcomer who knocks once has a place."""
    try:
        async with outsider_at(Address(*ann.address), situation_of(ann)) as newcomer:
            if await newcomer.shake_hands():
                await until(lambda: len(ann.connected) == 2)
                return True
    except (ChannelClosedError, UnreachableError):
        pass
    return False


@pytest.mark.parametrize("fault", ["connection-flood", "slow-loris"])
def test_connections_that_say_nothing_take_no_honest_peer_s_place(fault: str) -> None:
    async def scenario() -> None:
        async with under_attack(fault, IMPATIENT) as (ann, ben):
            await asyncio.sleep(1.0)
            assert ann.connected == {ben.identity.peer}
            for _ in range(5):  # who is turned away at a full door dials again
                if await is_let_in(ann):
                    break
            else:
                pytest.fail("five times turned away")
            await until(lambda: len(ann.connected) == 1)

    play(scenario)
