"""The joint rule under proof of work: bytes of lists and claims, and what a block does to the state."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from learning.evolution.joint_blocks import (
    LISTS_MAX,
    ClaimedList,
    JointClaim,
    JointModel,
    JointTransition,
    decode_claimed_list,
    decode_joint_claim,
    decode_joint_memory,
    encode_claimed_list,
    encode_joint_claim,
    encode_joint_memory,
)
from learning.evolution.joint_step import (
    FIRST_SCALE,
    PATH_SHARES,
    SCALE_HIGHEST,
    SCALE_LOWEST,
    JointRule,
    direction_scale,
)
from learning.evolution.payload import claimed_fitness
from learning.evolution.ranked_list import RankedList, direction_sum
from learning.exact import FITNESS_LOWEST, FITNESS_MAX, moved, noise_key
from learning.learner import AuthoredPayload, ProposedStep
from learning.model_consensus.slate import MalformedPayloadError
from learning.state import StoredStateError, genesis_state
from tests.learning.evolution.common_order import names
from tests.learning.evolution.exchange import GENESIS, NETWORK, RULES
from tests.learning.following.line_world import attached, signed
from tests.learning.sphere import SphereTask

FOUR = names(4)
RULE = JointRule(NETWORK, (), structs.replace(RULES, offspring=4))
TRANSITION = JointTransition(RULE)
FIRST = JointModel(genesis_state(NETWORK, SphereTask().layout))
LATER = JointModel(FIRST.model, FIRST.model.parameters - np.float32(0.5), 2)
LIST = RankedList((3, 1, 0, 2))

fitness = st.integers(FITNESS_LOWEST, FITNESS_MAX)
lists = st.lists(st.integers(0, 65_535), min_size=4, max_size=4, unique=True).map(lambda indices: RankedList(tuple(indices)))


def contribution(author: bytes, ranked: RankedList = LIST, base: bytes = GENESIS) -> AuthoredPayload:
    return signed(author, base, encode_claimed_list(ClaimedList(ranked, 7)))


def step_with(claim: JointClaim, *contributions: AuthoredPayload, height: int = 1) -> ProposedStep:
    return ProposedStep(b"s" * 32, GENESIS, height, FOUR[0], contributions, encode_joint_claim(claim), bytes(32))


# --- bytes ------------------------------------------------------------------------------------------------------------


@given(st.builds(ClaimedList, lists, fitness))
def test_a_list_has_one_form_and_shows_what_it_claims(claimed: ClaimedList) -> None:
    data = encode_claimed_list(claimed)
    assert decode_claimed_list(data, 4) == claimed
    assert claimed_fitness(data) == claimed.claimed_fitness


@given(
    st.builds(JointClaim, fitness, fitness, st.integers(SCALE_LOWEST, SCALE_HIGHEST), st.sampled_from(PATH_SHARES))
    | st.builds(JointClaim, fitness, fitness, st.integers(SCALE_LOWEST, SCALE_HIGHEST), is_head=st.just(True))
)
def test_a_claim_has_one_form(claim: JointClaim) -> None:
    assert decode_joint_claim(encode_joint_claim(claim)) == claim


@given(st.binary(min_size=18, max_size=24), st.booleans())
def test_any_bytes_are_of_one_form_or_are_refused(rest: bytes, is_claim: bool) -> None:
    data = b"\x02" + rest
    try:
        again = encode_joint_claim(decode_joint_claim(data)) if is_claim else encode_claimed_list(decode_claimed_list(data, 4))
    except MalformedPayloadError:
        return
    assert again == data


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 1, "claim version is 1, allowed 2..2"),
        (17, 2, "kind of child is 2, allowed 0..1"),
        (18, 13, "k is 13, allowed -24..12"),
        (19, 3, "index of the path's share is 3, allowed 0..2"),
    ],
)
def test_what_a_claim_may_not_say_is_named(place: int, value: int, message: str) -> None:
    data = bytearray(encode_joint_claim(JointClaim(1, 2, 3)))
    data[place] = value
    with pytest.raises(MalformedPayloadError, match=message):
        decode_joint_claim(bytes(data))


@pytest.mark.parametrize("state", [FIRST, LATER])
def test_what_is_kept_of_a_state_has_one_form(state: JointModel) -> None:
    data = encode_joint_memory(state)
    kept = decode_joint_memory(data, state.model)
    assert TRANSITION.digest(kept) == TRANSITION.digest(state)
    for damaged in (data[:-1], b"\x01" + data[1:], data + bytes(4)):
        with pytest.raises(StoredStateError, match="of another form than this version reads"):
            decode_joint_memory(damaged, state.model)


# --- steps ------------------------------------------------------------------------------------------------------------


def test_a_block_joins_the_directions_of_the_lists_that_it_names() -> None:
    other = RankedList((9, 8, 65_535, 1))
    step = step_with(JointClaim(0, 0, 3, 0.5), contribution(FOUR[1]), contribution(FOUR[2], other))
    state = TRANSITION.apply(LATER, step)
    size = len(LATER.model.parameters)
    total = sum(
        direction_sum(ranked, noise_key(NETWORK, GENESIS, author), size)
        for author, ranked in ((FOUR[1], LIST), (FOUR[2], other))
    )
    scale = direction_scale(4, 2, RULE.sigma(0, 3), FIRST_SCALE)
    assert np.array_equal(
        state.model.parameters, moved(LATER.model.parameters, np.asarray(total, dtype=np.int32), scale, LATER.before, 0.5)
    )
    assert (state.model.height, state.scale) == (1, 3)
    assert state.before is LATER.model.parameters


def test_no_change_keeps_the_model_and_the_path() -> None:
    state = TRANSITION.apply(LATER, step_with(JointClaim(0, 0, 1)))
    assert state.model.parameters is LATER.model.parameters
    assert (state.before is LATER.before, state.model.height, state.scale) == (True, 1, 1)


def test_states_that_differ_in_what_comes_next_have_different_digests() -> None:
    states = [LATER, replace(LATER, scale=1), replace(LATER, before=None), replace(LATER, before=LATER.model.parameters)]
    assert len({TRANSITION.digest(state) for state in states}) == 4


@pytest.mark.parametrize(
    ("claim", "contributions", "message"),
    [
        (JointClaim(0, 0, 0), (contribution(FOUR[0], base=b"o" * 32),), "contribution for base 6f6f"),
        (JointClaim(0, 0, 0), (contribution(FOUR[0]), contribution(FOUR[0], RankedList((5, 6, 7, 8)))), "two lists of author"),
        (JointClaim(0, 0, 0), (attached(contribution(FOUR[0]), (b"d" * 32, 1)),), "attachments: 1, allowed 0"),
        (JointClaim(0, 0, 0), (signed(FOUR[0], GENESIS, b"\x01junk-junk"),), "version of a list is 1, allowed 2..2"),
        (JointClaim(0, 0, 0, is_head=True), (), "the best mutation of 0 lists, expected one list"),
        (JointClaim(0, 0, 0, is_head=True), (contribution(FOUR[0]), contribution(FOUR[1])), "of 2 lists, expected one list"),
        (JointClaim(0, 0, 0, 0.5), (), "a share of the path without a list"),
        (
            JointClaim(0, 0, 0),
            tuple(contribution(author) for author in names(LISTS_MAX + 1)),
            "contributions: 33, allowed 0..32",
        ),
    ],
)
def test_a_step_that_can_never_be_applied_is_told_why(
    claim: JointClaim, contributions: tuple[AuthoredPayload, ...], message: str
) -> None:
    with pytest.raises(MalformedPayloadError, match=message):
        TRANSITION.decode(step_with(claim, *contributions))


@pytest.mark.parametrize(
    ("state", "claim", "message"),
    [
        (FIRST, JointClaim(0, 0, 2), "k is 2, allowed -1..1"),
        (LATER, JointClaim(0, 0, 0), "k is 0, allowed 1..3"),
        (FIRST, JointClaim(0, 0, 0, 1.0), "a share of the path, and there is none"),
    ],
)
def test_a_step_that_does_not_fit_its_parent_is_told_why(state: JointModel, claim: JointClaim, message: str) -> None:
    with pytest.raises(MalformedPayloadError, match=message):
        TRANSITION.apply(state, step_with(claim, contribution(FOUR[0])))


def test_at_its_end_k_may_begin_anew() -> None:
    highest = replace(LATER, scale=SCALE_HIGHEST)
    assert TRANSITION.apply(highest, step_with(JointClaim(0, 0, 0))).scale == 0
    with pytest.raises(MalformedPayloadError, match=r"k is 1, allowed 11..13"):
        TRANSITION.apply(highest, step_with(JointClaim(0, 0, 1)))
