"""Faults of every family with real peers, joined in one liar, and what a person is told who asks for too many of them."""

import json

import pytest

from tests.node.processes import run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(200)]


def test_one_of_four_that_equivocates_and_sends_strangers_keeps_nobody_from_the_goal() -> None:
    fault = "equivocate:share=0.5+slow-loris:strangers=10+scores-inverted"
    ended = run(
        *("testnet", "--consensus", "total-order", "--until-accuracy", "0.3", "--deadline", "120", "--json"),
        *("--faulty", "1", "--fault", fault),
    )
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout.splitlines()[-1])
    assert [peer["fault"] for peer in document["peers"]] == [None, None, None, fault]
    assert {peer["state_digest"] for peer in document["peers"][:3]} == {document["state_digest"]}


def test_more_faulty_peers_than_a_network_withstands_are_allowed_and_said_loudly() -> None:
    arguments = ("--consensus", "total-order", "--faulty", "2", "--fault", "mute", "--deadline", "1")
    ended = run("testnet", *arguments)
    assert ended.returncode == 1
    assert "WARNING: 4 peers withstand 1 faulty ones, not 2: anything may happen" in ended.stdout
