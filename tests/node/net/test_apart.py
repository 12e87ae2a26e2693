"""Peers that are told to keep apart have no connection, and nothing against each other."""

import asyncio
from dataclasses import replace

from node.net.address_book import Backoff
from node.net.handshake import Established
from tests.node.net.example_peers import QUICK, identity_of, node_of, outsider_at, play, running, until

SLOW = replace(QUICK, backoff=Backoff())
"""Waiting times of production: up to a minute."""


def test_a_side_that_is_told_alone_ends_the_connection_refuses_a_new_one_and_blames_nobody() -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            ben, eve = node_of(2, (ann.address,)), node_of(3, (ann.address,))
            async with running(ben, eve):
                await until(lambda: all(len(node.connected) == 2 for node in (ann, ben, eve)))
                ann.network.keep_apart(frozenset({ben.identity.peer}))
                await until(lambda: ben.identity.peer not in ann.connected)
                await asyncio.sleep(1.0)
                assert ann.connected == ben.connected == {eve.identity.peer}
                assert eve.connected == {ann.identity.peer, ben.identity.peer}
            assert ann.notes == ben.notes == eve.notes == []

    play(scenario)


def test_who_knocks_meanwhile_is_told_why() -> None:
    async def scenario() -> None:
        ann, eve = node_of(1), identity_of(9)
        async with running(ann):
            ann.network.keep_apart(frozenset({eve.peer}))
            async with outsider_at(ann) as outsider:
                assert isinstance(await outsider.shake(eve), Established)
                assert await outsider.end() == "kept apart"
            assert (ann.joined, ann.notes) == ([], [])

    play(scenario)


def test_peers_meet_again_at_once_after_the_heal_however_long_their_back_off_was() -> None:
    async def scenario() -> None:
        ann = node_of(1, settings=replace(SLOW, outbound_target=0))  # it waits to be dialled
        async with running(ann):
            ben = node_of(2, (ann.address,), settings=SLOW)
            async with running(ben):
                await until(lambda: ann.connected and ben.connected)
                ann.network.keep_apart(frozenset({ben.identity.peer}))
                await until(lambda: len(ben.left) >= 3, 12.0)  # it dials in vain, and waits longer each time
                ben.network.keep_apart(frozenset({ann.identity.peer}))
                ann.network.keep_apart(frozenset())
                ben.network.keep_apart(frozenset())
                await until(lambda: ann.connected and ben.connected, 1.0)

    play(scenario)


def test_another_order_replaces_the_first() -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            ben, eve = node_of(2, (ann.address,)), node_of(3, (ann.address,))
            async with running(ben, eve):
                await until(lambda: len(ann.connected) == 2)
                ann.network.keep_apart(frozenset({ben.identity.peer}))
                await until(lambda: ann.connected == {eve.identity.peer})
                ann.network.keep_apart(frozenset({eve.identity.peer}))
                await until(lambda: ann.connected == {ben.identity.peer})

    play(scenario)
