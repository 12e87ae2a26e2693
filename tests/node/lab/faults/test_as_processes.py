"""Faults of every family with real peers, joined in one liar, and what a person is told who asks for too many of them."""

import json
from pathlib import Path

import pytest

from node.lab.store_audit.log import LOG_NAME
from tests.node.real_peers import run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(200)]


def test_one_of_four_that_equivocates_and_sends_outsiders_keeps_nobody_from_the_goal() -> None:
    fault = "equivocate:share=0.5+slow-loris:outsiders=10+scores-inverted"
    ended = run(
        *("testnet", "--consensus", "total-order", "--until-accuracy", "0.3", "--deadline", "120", "--json"),
        *("--faulty", "1", "--fault", fault),
    )
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout.splitlines()[-1])
    assert [peer["fault"] for peer in document["peers"]] == [None, None, None, fault]
    assert {peer["state_digest"] for peer in document["peers"][:3]} == {document["state_digest"]}


def test_floods_of_fresh_keys_and_questions_keep_nobody_from_the_goal(tmp_path: Path) -> None:
    """Of the puzzles that outsiders' blocks cost, too: it is the real work. By a slow rule: there has to be time for them."""
    fault = "fresh-keys:outsiders=8+costly-questions:outsiders=4+first-relay+borrowed-name+malformed-requests"
    ended = run(
        *(
            "testnet",
            "--consensus",
            "proof-of-work",
            "--strategy",
            "plus",
            "--until-accuracy",
            "0.3",
            "--deadline",
            "150",
            "--json",
        ),
        *("--faulty", "1", "--fault", fault, "--data-dir", str(tmp_path / "net"), "--keep"),
    )
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout.splitlines()[-1])
    assert [peer["fault"] is None for peer in document["peers"]] == [True, True, True, False]
    logs = "".join(path.read_text() for path in (tmp_path / "net").rglob(LOG_NAME))
    assert logs.count("puzzle not solved") >= 8


def test_more_faulty_peers_than_a_network_withstands_are_allowed_and_said_loudly() -> None:
    arguments = ("--consensus", "total-order", "--faulty", "2", "--fault", "mute", "--deadline", "1")
    ended = run("testnet", *arguments)
    assert ended.returncode == 1
    assert "WARNING: 4 peers can have 1 faulty among them, not 2: anything may happen" in ended.stdout
