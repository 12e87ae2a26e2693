"""Faults as text, and what a person is told who mistypes."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.evolution.rules import Strategy
from learning.task import ParameterBlock
from node.lab.faults.catalogue import (
    FAULTS,
    GRADIENT_FAULTS,
    FaultError,
    FaultSpec,
    Situation,
    check_fits,
    conduct_of,
    make_conduct,
    parse_fault,
    parse_faults,
)
from node.rules.network_rules import Consensus, Learning

SITUATION = Situation(b"liar", frozenset({b"liar"}), (ParameterBlock("weight", (3,), 3),), 10, 7)


def test_a_name_alone_has_the_defaults() -> None:
    assert parse_fault("sign-flip") == FaultSpec("sign-flip", (("scale", 1.0),))


def test_parameters_and_the_modifier_are_read() -> None:
    expected = FaultSpec("flood", (("scale", 2.0), ("copies", 3.0)), is_fresh=True)
    assert parse_fault("flood:copies=3,fresh,scale=2") == expected


@pytest.mark.parametrize("fault", GRADIENT_FAULTS)
def test_every_fault_is_made_from_its_own_text(fault) -> None:
    spec = parse_fault(f"{fault.name}:fresh")
    conduct = make_conduct(spec, SITUATION)
    assert (parse_fault(str(spec)), conduct.name, conduct.names_newest_model) == (spec, str(spec), True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sing-flip", r"^there is no fault 'sing-flip': did you mean 'sign-flip'.*\? .* testnet --list-faults lists all \d+$"),
        ("", r"^there is no fault '': \S+ \S+ testnet --list-faults lists all \d+$"),
        ("alie:epsilon=1", "fault 'alie' has no parameter 'epsilon', allowed z=-1.5, fresh"),
        ("silent:scale=1", "fault 'silent' has no parameter 'scale', allowed fresh"),
        ("random:scale=nan", "scale of fault 'random' is 'nan', allowed a number 0 to 1e\\+06"),
        ("random:scale", "scale of fault 'random' is '', allowed a number 0 to 1e\\+06"),
        ("replay:age=1.5", "age of fault 'replay' is '1.5', allowed a whole number 1 to 1000"),
        ("replay:age=1,age=2", "age of fault 'replay' is given twice"),
    ],
)
def test_a_mistyped_fault_is_told_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        parse_fault(text)


def test_no_two_faults_have_one_name() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_fits_some_network_and_is_read_from_its_own_text(fault) -> None:
    fits = 0
    for kinds in product(Consensus, Learning, Strategy):
        try:
            check_fits(parse_fault(fault.name), *kinds)
        except FaultError:
            continue
        fits += 1
    assert fits >= 1
    assert parse_fault(str(parse_fault(fault.name))) == parse_fault(fault.name)


@given(delay_ms=st.integers(min_value=1, max_value=3_600_000), by=st.integers(min_value=1, max_value=10**12))
def test_faults_of_one_peer_are_joined_and_read_back(delay_ms: int, by: int) -> None:
    specs = parse_faults(f"slow:delay_ms={delay_ms}+inflated-claim:by={by}")
    assert [dict(spec.values) for spec in specs] == [{"delay_ms": delay_ms}, {"by": by}]
    assert parse_faults("+".join(str(spec) for spec in specs)) == specs


def test_the_plus_of_a_number_joins_nothing() -> None:
    assert parse_faults("sign-flip:scale=1e+06") == (FaultSpec("sign-flip", (("scale", 1e6),)),)


def test_nothing_is_no_fault() -> None:
    assert parse_faults("") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mute+mute", "fault 'mute' is given twice"),
        ("mute+", "there is no fault 'mute\\+': did you mean 'mute'"),
        ("zero+nan", "gradient faults are zero and nan, allowed one: a worker submits one vector"),
        ("equivocat", "did you mean 'equivocate'"),
        ("mute:fresh", "fault 'mute' has no parameter 'fresh', allowed none"),
        ("crash:after=-1", "after of fault 'crash' is '-1', allowed a number 0 to 1e\\+06"),
    ],
)
def test_faults_that_do_not_go_together_are_told(text: str, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        parse_faults(text)


@pytest.mark.parametrize(
    ("text", "consensus", "learning", "message"),
    [
        ("equivocate", "proof-of-work", "evolution", "is one of total-order, and the network's consensus is proof-of-work"),
        ("private-chain", "total-order", "gradient", "is one of proof-of-work, and the network's consensus is total-order"),
        ("nan", "total-order", "evolution", "the fault 'nan' is one of gradient learning, and the network's is evolution"),
        ("free-rider", "total-order", "gradient", "is one of evolution learning, and the network's is gradient"),
    ],
)
def test_a_fault_that_a_network_has_no_place_for_is_told(text: str, consensus: str, learning: str, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        check_fits(parse_fault(text), Consensus(consensus), Learning(learning), Strategy.PLUS)


@pytest.mark.parametrize(
    ("text", "consensus", "strategy", "message"),
    [
        ("inflated-claim", "total-order", "joint", "is one of claims; the network's strategy is joint, over total-order"),
        (
            "reversed-lists",
            "total-order",
            "plus",
            "is one of ranked lists, which the strategy joint over total-order has",
        ),
        ("reversed-lists", "proof-of-work", "joint", "is one of total-order, and the network's consensus is proof-of-work"),
    ],
)
def test_a_fault_of_claims_or_of_lists_is_told_where_there_are_none(
    text: str, consensus: str, strategy: str, message: str
) -> None:
    with pytest.raises(FaultError, match=message):
        check_fits(parse_fault(text), Consensus(consensus), Learning.EVOLUTION, Strategy(strategy))
    check_fits(parse_fault("inflated-claim"), Consensus.PROOF_OF_WORK, Learning.EVOLUTION, Strategy.JOINT)


def test_a_worker_without_a_gradient_fault_is_an_honest_worker() -> None:
    assert conduct_of(parse_faults("mute"), SITUATION).name == "honest"
    assert conduct_of(parse_faults("mute+zero"), SITUATION).name == "zero"
