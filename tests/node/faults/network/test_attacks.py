"""Each attack below all messages is noticed, or comes to nothing, and two honest peers stay connected meanwhile."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from node.faults.catalogue import NETWORK_FAULTS, NetworkSituation, attacks_of, parse_faults
from node.faults.network.attacks import VISITS
from node.faults.network.stranger import stranger_at
from node.faults.network.visits import MALFORMED, OVERSIZED
from node.net.peers import Address
from node.net.rates import RateLimits
from node.net.transport import NetSettings
from tests.node.net.example_peers import IMPATIENT, NETWORK, QUICK, RULES, Node, node_of, play, running, until


@asynccontextmanager
async def under_attack(fault: str, settings: NetSettings = QUICK) -> AsyncIterator[tuple[Node, Node]]:
    """Ann is attacked, and Ben is her friend, who is still there at the end."""
    ann = node_of(1, settings=settings)
    async with running(ann):
        ben = node_of(2, (ann.address,))
        async with running(ben):
            await until(lambda: ann.connected and ben.connected)
            (attack,) = attacks_of(parse_faults(fault), situation_of(ann))
            task = asyncio.create_task(attack())
            yield ann, ben
            assert not task.done(), "the attack has ended by itself"
            task.cancel()
            await asyncio.wait((task,))
            ann.network.broadcast(b"flood: still here")
            await until(lambda: b"flood: still here" in ben.inbox)
            assert ben.identity.peer in ann.connected
            assert ben.identity.peer not in ann.left


def situation_of(target: Node) -> NetworkSituation:
    return NetworkSituation(NETWORK, RULES, lambda: (Address(*target.address),), Random(7))


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


def test_each_malformed_frame_costs_a_stranger_its_connection() -> None:
    count = len(MALFORMED)
    attacked_until(f"malformed-frames:strangers={count}", lambda ann: len(refusals(ann, "malformed message")) >= count - 1)


def test_an_answer_that_nobody_asked_for_is_one_of_them() -> None:
    count = len(MALFORMED)
    attacked_until(f"malformed-frames:strangers={count}", lambda ann: refusals(ann, "answer that nobody asked for"))


def refusals(node: Node, offence: str) -> list[str]:
    return [note for note in node.notes if note.startswith("refused") and offence in note]


def test_too_large_a_frame_is_refused_by_its_length() -> None:
    count = len(OVERSIZED)
    attacked_until(f"oversized-frames:strangers={count}", lambda ann: len(refusals(ann, "oversized message")) == count)


def test_a_flood_of_questions_is_cut_off() -> None:
    settings = replace(QUICK, rates=RateLimits(frames_per_second=50, frames_burst=100))
    attacked_until("message-flood:strangers=2", lambda ann: len(refusals(ann, "more than 50 frames a second")) >= 2, settings)


def test_a_replayed_handshake_proves_nothing() -> None:
    attacked_until("handshake-replay", lambda ann: any("did not prove that it holds the key" in note for note in ann.notes))


def test_a_stranger_of_another_network_is_told_so() -> None:
    attacked_until("foreign-network", lambda ann: any("runs another network" in note for note in ann.notes))


def test_false_addresses_are_asked_for_and_never_passed_on(caplog) -> None:
    async def scenario() -> None:
        async with under_attack("address-poisoning", replace(QUICK, address_exchange_seconds=0.05)) as (ann, ben):
            await until(lambda: sum("false addresses" in record.message for record in caplog.records) >= 4)
            assert ann.network.known_addresses() == (Address(*ben.address),)

    caplog.set_level(logging.DEBUG)
    play(scenario)


@pytest.mark.parametrize("fault", ["connection-flood", "slow-loris"])
def test_connections_that_say_nothing_take_no_honest_peer_s_place(fault: str) -> None:
    async def scenario() -> None:
        async with under_attack(fault, IMPATIENT) as (ann, ben):
            await asyncio.sleep(1.0)
            assert ann.connected == {ben.identity.peer}
            async with stranger_at(Address(*ann.address), situation_of(ann)) as newcomer:
                assert await newcomer.shake_hands()
                await until(lambda: len(ann.connected) == 2)
            await until(lambda: len(ann.connected) == 1)

    play(scenario)
