"""What is wrong with a event is told before anything is done."""

from pathlib import Path

import pytest

from node.common.errors import EXIT_CANNOT_NOW, EXIT_USAGE, NodeError
from node.lab.scenarios.events import PeerNumbers
from node.lab.testnet.checks import UP, canonical_fault, check_numbers, check_state, whole_division
from tests.node.lab.testnet.example_testnet import made


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((), "no peer is named"),
        ((4,), "there is no peer 4"),
        ((-1,), "there is no peer -1"),
        ((2, 0, 2), "peer 2 is named twice"),
    ],
)
def test_numbers_that_name_no_peer_or_one_twice(numbers: PeerNumbers, told: str) -> None:
    with pytest.raises(NodeError) as raised:
        check_numbers(numbers, 4)
    assert (raised.value.message, raised.value.exit_code) == (told, EXIT_USAGE)


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (((0, 1), ()), "a group of the partition is empty"),
        (((0, 1), (1, 2)), "peer 1 is named twice"),
        (((0, 5),), "there is no peer 5"),
        (((0, 1, 2, 3),), "all peers are in one group: that parts nobody"),
        ((), "no peer is named"),
    ],
)
def test_groups_that_part_nobody_or_one_peer_from_itself(groups: tuple[PeerNumbers, ...], told: str) -> None:
    with pytest.raises(NodeError) as raised:
        whole_division(groups, 4)
    assert (raised.value.message, raised.value.exit_code) == (told, EXIT_USAGE)


def test_those_in_no_group_are_one_more() -> None:
    assert whole_division(((1,),), 4) == ((1,), (0, 2, 3))
    assert whole_division(((0, 1), (2, 3)), 4) == ((0, 1), (2, 3))


def test_a_peer_in_another_state_is_named_with_the_way_out(tmp_path: Path) -> None:
    _, peers = made(tmp_path, nodes=2)
    with pytest.raises(NodeError) as raised:
        check_state(peers, "pause", UP)
    error = raised.value
    assert (error.message, error.fix, error.exit_code) == (
        "cannot pause peer-0: it is absent",
        "start it with --restart",
        EXIT_CANNOT_NOW,
    )


def test_a_fault_is_written_out_and_must_fit_the_network(tmp_path: Path) -> None:
    rules, _ = made(tmp_path)
    assert canonical_fault("equivocate+worst-candidate", rules) == "equivocate:share=0.5+worst-candidate"
    assert canonical_fault("", rules) == ""
    for text, told in (
        ("equivocat", "did you mean 'equivocate'?"),
        ("sign-flip:scale=10", "the fault 'sign-flip:scale=10' is one of gradient learning, and the network's is evolution"),
        ("private-chain", "is one of proof-of-work, and the network's consensus is total-order"),
    ):
        with pytest.raises(NodeError) as raised:
            canonical_fault(text, rules)
        assert raised.value.message.endswith(told)
