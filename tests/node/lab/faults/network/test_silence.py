"""A connection that brings nothing any more, as after a pause or over a half-open link, ends on its own."""

from dataclasses import replace
from random import Random

from node.common.address import Address
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import outsider_at
from tests.node.net.example_peers import NETWORK, QUICK, RULES, node_of, play, running, until


def test_a_peer_that_answers_no_ping_is_given_up() -> None:
    async def scenario() -> None:
        ann = node_of(1, settings=replace(QUICK, heartbeat_seconds=0.2))
        async with running(ann):
            where = Address(*ann.address)
            async with outsider_at(where, NetworkSituation(NETWORK, RULES, tuple, Random(7))) as silent:
                assert await silent.shake_hands()
                await until(lambda: ann.connected)
                await until(lambda: not ann.connected)
            assert len(ann.left) == 1
            assert ann.notes == []

    play(scenario)
