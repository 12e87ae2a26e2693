"""Learning by gradients with real peers: both orders, liars among them, and processors that compute otherwise."""

import json
from pathlib import Path

import pytest

from tests.node.real_peers import RunningPeer, run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(290)]

PROCESSORS = (
    {},
    {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR", "ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell"},
    {
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "ATEN_CPU_CAPABILITY": "default",
        "OPENBLAS_CORETYPE": "Prescott",
    },
    {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Sandybridge"},
)
"""Instruction sets of numpy, torch and the BLAS that each of four peers may use."""

VERSIONS = 60
"""Steps of the model over which states are compared."""


def outcome_of(*arguments: str) -> dict:
    """The testnet's last line; it must have reached its goal in agreement."""
    ended = run("testnet", "--learning", "gradient", "--json", *arguments)
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout.splitlines()[-1])
    assert document["agreed"] is True
    honest = {peer["state_digest"] for peer in document["peers"] if peer["fault"] is None}
    assert honest == {document["state_digest"]}
    return document


def test_members_learn_by_gradients_from_unequal_private_shards() -> None:
    document = outcome_of(
        "--consensus", "total-order", "--shards", "dirichlet:0.5", "--until-accuracy", "0.85", "--deadline", "120"
    )
    assert document["test_accuracy"] >= 0.85


def test_leaders_order_gradients() -> None:
    document = outcome_of("--consensus", "proof-of-work", "--until-accuracy", "0.8", "--deadline", "200")
    assert document["test_accuracy"] >= 0.8


def test_one_of_four_that_flips_signs_does_no_harm_and_is_named() -> None:
    document = outcome_of(
        *("--consensus", "total-order", "--until-accuracy", "0.85", "--deadline", "120"),
        *("--faulty", "1", "--fault", "sign-flip:scale=10"),
    )
    assert [peer["fault"] for peer in document["peers"]] == [None, None, None, "sign-flip:scale=10"]
    assert document["test_accuracy"] >= 0.85


def test_steps_that_members_score_are_taken_whoever_lies() -> None:
    document = outcome_of(
        *("--consensus", "total-order", "--rule", "scored", "--until-accuracy", "0.85", "--deadline", "120"),
        *("--faulty", "1", "--fault", "label-flip"),
    )
    assert document["test_accuracy"] >= 0.85


def test_members_on_unlike_processors_hold_the_same_model_bit_for_bit(tmp_path: Path) -> None:
    made = run("init", str(tmp_path / "n"), "--learning", "gradient", "--members", "4", "--task", "digits-cnn")
    assert made.returncode == 0, made.stderr
    members: list[RunningPeer] = []
    try:
        for number, environment in enumerate(PROCESSORS):
            known = ("--peer", f"127.0.0.1:{members[0].port}") if members else ()
            members.append(RunningPeer.start(tmp_path / "n" / f"member-{number}", *known, environment=environment))
        statuses = [member.wait_until(lambda status: status["height"] >= VERSIONS, seconds=200) for member in members]
    finally:
        codes = [member.stop() for member in members]
    assert codes == [0, 0, 0, 0]
    seen: dict[int, str] = {}
    for status in statuses:
        for step in status["steps"]:
            assert seen.setdefault(step["height"], step["state_digest"]) == step["state_digest"]
    shared = set.intersection(*({step["height"] for step in status["steps"]} for status in statuses))
    assert shared, "no version was seen by all"
