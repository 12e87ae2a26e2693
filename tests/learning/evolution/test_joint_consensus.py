"""The joint rule over an order: when a slate is closed, what its scores decide, and what is ignored."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consensus.steps import PAYLOAD_BYTES_MAX
from learning.evolution.joint_consensus import Decision, JointConsensus
from learning.evolution.joint_memory import Memory, Origin, decode_memory, encode_memory, memory_bytes_max
from learning.evolution.joint_step import MEMBERS_MAX, EntryKind, JointEntry, JointRule, JointState
from learning.evolution.joint_submission import JointSubmission, ScoresAndList, decode_joint, encode_joint
from learning.evolution.ranked_list import RankedList
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.learner import AuthoredPayload, Phase, faulty_max
from learning.model_consensus.slate import Ignored, MalformedPayloadError, Scores, Slate
from learning.state import StoredStateError
from tests.learning.evolution.common_order import names
from tests.learning.evolution.exchange import NETWORK, RULES
from tests.learning.following.line_world import attached, signed

FOUR = names(4)
OUTSIDER = b"s" * 32
RULE = JointRule(NETWORK, FOUR, structs.replace(RULES, offspring=4))
GENERATION = b"g" * 32
BEFORE = b"b" * 32
LIST = RankedList((3, 1, 0, 2))
OTHER = RankedList((7, 65_535, 0, 2))


def consensus(memory: Memory | None = None, rule: JointRule = RULE) -> JointConsensus:
    return JointConsensus(rule, GENERATION, memory or Memory(rule.first_state()))


def item(author: bytes, submission: JointSubmission, base: bytes = GENERATION) -> AuthoredPayload:
    return signed(author, base, encode_joint(submission))


def commit(machine: JointConsensus, *items: AuthoredPayload) -> Slate[JointEntry] | Decision | None:
    for one in items:
        machine.deliver(one)
    return machine.end_of_commit()


def closed(machine: JointConsensus, lists: int = 4) -> Slate[JointEntry]:
    commit(machine, *(item(author, LIST) for author in FOUR[:lists]))
    slate = machine.slate or commit(machine)
    assert isinstance(slate, Slate)
    return slate


def scores_for(slate: Slate[JointEntry], winner: int = 1, lead: int = 5) -> Scores:
    values = [100] * len(slate.entries)
    values[winner] += lead
    return Scores(slate.digest, tuple(values))


# --- phases -----------------------------------------------------------------------------------------------------------


def test_the_slate_is_closed_with_the_last_members_list() -> None:
    machine = consensus()
    assert commit(machine, *(item(author, LIST) for author in FOUR[:2])) is None
    slate = commit(machine, *(item(author, LIST) for author in FOUR[2:]))
    assert slate is machine.slate is not None
    assert len(slate.entries) == 1 + 2 * 4 + 3
    assert (machine.phase, machine.counted) == (Phase.SCORES, ())


def test_where_one_is_silent_the_slate_is_closed_a_commit_after_the_quorum() -> None:
    machine = consensus()
    assert commit(machine, *(item(author, LIST) for author in FOUR[:3])) is None
    assert (machine.phase, machine.counted, machine.needed) == (Phase.CANDIDATES, FOUR[:3], 3)
    slate = commit(machine)
    assert isinstance(slate, Slate)
    assert len(slate.entries) == 1 + 2 * 3 + 3


def test_of_whom_a_whole_generation_has_brought_nothing_is_not_waited_for() -> None:
    machine = consensus()
    slate = closed(machine, lists=3)
    decision = commit(machine, *(item(author, scores_for(slate)) for author in FOUR[:3]))
    assert isinstance(decision, Decision)
    assert decision.silent == (FOUR[3],)
    following = consensus(Memory(RULE.first_state(), silent=decision.silent))
    assert isinstance(commit(following, *(item(author, LIST) for author in FOUR[:3])), Slate)


def test_whatever_a_member_says_it_is_waited_for_again() -> None:
    machine = consensus(Memory(RULE.first_state(), silent=(FOUR[3],)))
    slate = closed(machine, lists=3)
    late = item(FOUR[3], LIST)
    decision = commit(machine, late, *(item(author, scores_for(slate)) for author in FOUR[:3]))
    assert isinstance(decision, Decision)
    assert decision.silent == ()


@given(silent=st.sets(st.sampled_from(FOUR)), lists=st.sets(st.sampled_from(FOUR)))
def test_no_slate_is_closed_before_a_quorum_has_listed(silent: set[bytes], lists: set[bytes]) -> None:
    machine = consensus(Memory(RULE.first_state(), silent=tuple(author for author in FOUR if author in silent)))
    ended = commit(machine, *(item(author, LIST) for author in FOUR if author in lists))
    assert (ended is not None) == (len(lists) >= 3 and {*FOUR} - silent <= lists)


def test_a_list_of_the_commit_after_the_quorum_is_on_the_slate_and_a_later_one_is_not() -> None:
    machine = consensus()
    commit(machine, *(item(author, LIST) for author in FOUR[:3]))
    commit(machine, item(FOUR[3], OTHER))
    assert machine.lists[FOUR[3]] == OTHER
    assert machine.deliver(item(FOUR[3], LIST)) is Ignored.SECOND_CANDIDATE
    late = consensus()
    closed(late, 3)
    assert late.deliver(item(FOUR[3], LIST)) is Ignored.LATE_CANDIDATE


def test_scores_of_a_quorum_decide() -> None:
    machine = consensus()
    slate = closed(machine)
    assert commit(machine, *(item(author, scores_for(slate)) for author in FOUR[:2])) is None
    decision = commit(machine, item(FOUR[3], scores_for(slate, lead=9)))
    assert isinstance(decision, Decision)
    assert (decision.winner, decision.leads[1], decision.fitness[1]) == (1, 5, 105)
    assert decision.scorers == (FOUR[0], FOUR[1], FOUR[3])
    assert decision.ignored == ()


def test_no_gain_is_no_change() -> None:
    machine = consensus()
    slate = closed(machine)
    decision = commit(machine, *(item(author, scores_for(slate, lead=0)) for author in FOUR))
    assert isinstance(decision, Decision)
    assert decision.winner == 0


def test_a_list_is_screened_by_the_lead_that_one_honest_member_at_least_has_measured() -> None:
    machine = consensus()
    slate = closed(machine)
    rows = [(0, lead, *(0,) * (len(slate.entries) - 2)) for lead in (-9, -9, 4, 7)]
    decision = commit(machine, *(item(author, Scores(slate.digest, row)) for author, row in zip(FOUR, rows, strict=True)))
    assert isinstance(decision, Decision)
    assert (decision.leads[1], decision.credible[1]) == (-9, 4)


@given(st.data())
def test_every_agreed_lead_is_one_that_honest_members_have_measured(data: st.DataObject) -> None:
    members = names(data.draw(st.integers(1, 7)))
    rule = JointRule(NETWORK, members, structs.replace(RULES, offspring=4))
    machine = consensus(rule=rule)
    slate = commit(machine, *(item(author, LIST) for author in members))
    assert isinstance(slate, Slate)
    liars = data.draw(st.integers(0, faulty_max(len(members))))
    values = st.lists(st.integers(FITNESS_LOWEST, FITNESS_MAX), min_size=len(slate.entries), max_size=len(slate.entries))
    honest_values = st.lists(st.integers(-50, 50), min_size=len(slate.entries), max_size=len(slate.entries))
    rows = [tuple(data.draw(values if number < liars else honest_values)) for number in range(len(members))]
    decision = commit(machine, *(item(author, Scores(slate.digest, row)) for author, row in zip(members, rows, strict=True)))
    assert isinstance(decision, Decision)
    for place, lead in enumerate(decision.leads):
        honest = [row[place] - row[0] for row in rows[liars:]]
        assert min(honest) <= lead <= decision.credible[place] <= max(honest)
    of_joins = [lead for entry, lead in zip(slate.entries, decision.leads, strict=True) if entry.kind is EntryKind.JOIN]
    best = max(of_joins) if max(of_joins) > 0 else max(decision.leads)
    assert decision.leads[decision.winner] == best
    assert (slate.entries[decision.winner].kind is EntryKind.JOIN) == (max(of_joins) > 0)
    assert (decision.winner == 0) == (best == 0)


# --- lists that come with scores -----------------------------------------------------------------------------------------


def ahead(slate: Slate[JointEntry], expected: int = 1) -> ScoresAndList:
    return ScoresAndList(scores_for(slate), expected, OTHER)


def test_lists_on_the_entry_that_wins_are_lists_of_the_next_generation() -> None:
    machine = consensus()
    slate = closed(machine)
    decision = commit(
        machine, item(FOUR[0], ahead(slate)), item(FOUR[1], ahead(slate, expected=2)), item(FOUR[2], scores_for(slate))
    )
    assert isinstance(decision, Decision)
    assert decision.early_lists == {FOUR[0]: OTHER}


def test_where_all_lists_came_with_the_scores_the_next_slate_is_closed_at_once() -> None:
    lists = dict.fromkeys(FOUR, OTHER)
    assert consensus(Memory(RULE.first_state(), Origin(BEFORE, 1), lists)).slate is not None
    machine = consensus(Memory(RULE.first_state(), Origin(BEFORE, 1), dict.fromkeys(FOUR[:3], OTHER)))
    assert machine.slate is None
    assert commit(machine) is machine.slate is not None


def test_a_list_that_came_with_late_scores_counts_while_the_slate_is_open() -> None:
    machine = consensus(Memory(RULE.first_state(), Origin(BEFORE, 1), dict.fromkeys(FOUR[:3], OTHER)))
    late = ScoresAndList(Scores(b"x" * 32, (1, 2)), 1, LIST)
    assert machine.deliver(item(FOUR[3], replace(late, winner=0), BEFORE)) is Ignored.OTHER_GENERATION
    assert machine.deliver(item(FOUR[3], late.scores, BEFORE)) is Ignored.OTHER_GENERATION
    assert machine.deliver(item(FOUR[3], late.ranked, BEFORE)) is Ignored.OTHER_GENERATION
    assert machine.deliver(item(FOUR[3], late, BEFORE)) is None
    assert isinstance(machine.end_of_commit(), Slate)
    assert machine.lists[FOUR[3]] == LIST
    assert machine.deliver(item(FOUR[3], late, BEFORE)) is Ignored.SECOND_CANDIDATE


# --- what is ignored ------------------------------------------------------------------------------------------------------


def test_what_is_ignored_while_the_slate_is_open() -> None:
    machine = consensus()
    expected = {
        Ignored.OUTSIDER: item(OUTSIDER, LIST),
        Ignored.OTHER_GENERATION: item(FOUR[0], LIST, BEFORE),
        Ignored.EARLY_SCORES: item(FOUR[0], Scores(b"x" * 32, (1,))),
        Ignored.MALFORMED: signed(FOUR[0], GENERATION, encode_joint(RankedList((1, 2)))),
    }
    assert {machine.deliver(one): one for one in expected.values()} == expected
    assert machine.deliver(attached(item(FOUR[0], LIST), (b"d" * 32, 5))) is Ignored.MALFORMED
    assert machine.counted == ()


def test_what_is_ignored_once_it_is_closed() -> None:
    machine = consensus()
    slate = closed(machine)
    right = scores_for(slate)
    assert machine.deliver(item(FOUR[0], replace(right, slate=b"x" * 32))) is Ignored.OTHER_SLATE
    assert machine.deliver(item(FOUR[0], replace(right, values=right.values[1:]))) is Ignored.WRONG_COUNT
    assert machine.deliver(item(FOUR[0], right)) is None
    assert machine.deliver(item(FOUR[0], right)) is Ignored.SECOND_SCORES
    assert machine.deliver(item(FOUR[0], ahead(slate))) is Ignored.SECOND_SCORES
    decision = commit(machine, *(item(author, right) for author in FOUR[1:]))
    assert isinstance(decision, Decision)
    assert dict(decision.ignored) == {Ignored.SECOND_SCORES: 2, Ignored.OTHER_SLATE: 1, Ignored.WRONG_COUNT: 1}
    assert decision.early_lists == {}


# --- bytes ------------------------------------------------------------------------------------------------------------


lists = st.lists(st.integers(0, 65_535), min_size=4, max_size=4, unique=True).map(lambda indices: RankedList(tuple(indices)))
scores = st.builds(
    Scores,
    st.binary(min_size=32, max_size=32),
    st.lists(st.integers(FITNESS_LOWEST, FITNESS_MAX), min_size=2, max_size=30).map(tuple),
)
submissions: st.SearchStrategy[JointSubmission] = st.one_of(
    lists, scores, st.builds(ScoresAndList, scores, st.integers(0, 1), lists)
)


def test_what_the_largest_network_submits_fits_a_payload() -> None:
    rule = JointRule(NETWORK, names(MEMBERS_MAX), structs.replace(RULES, offspring=64))
    lists_of_all = dict.fromkeys(rule.members, RankedList(tuple(range(64))))
    entries = rule.entries(GENERATION, lists_of_all, replace(rule.first_state(), before=np.zeros(1, dtype=np.float32)))
    largest = ScoresAndList(Scores(bytes(32), (FITNESS_MAX,) * len(entries)), 0, lists_of_all[rule.members[0]])
    assert len(entries) == 1 + 2 * MEMBERS_MAX + 9
    assert len(encode_joint(largest)) <= PAYLOAD_BYTES_MAX


@given(submissions)
def test_a_submission_has_one_form(submission: JointSubmission) -> None:
    assert decode_joint(encode_joint(submission), 4) == submission


@given(st.integers(0, 6), st.binary(max_size=120))
def test_any_bytes_are_a_submission_of_one_form_or_are_refused(kind: int, rest: bytes) -> None:
    data = bytes([kind]) + rest
    try:
        submission = decode_joint(data, 4)
    except MalformedPayloadError:
        return
    assert encode_joint(submission) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "kind of submission is missing, allowed 02 .scores., 04 .ranked list., 05"),
        (b"\x01rest", "kind of submission is 01, allowed"),
        (b"\x05" + bytes(12), "scores and ranked list of 12 bytes, allowed 13 or more"),
        (encode_joint(ScoresAndList(Scores(bytes(32), (1, 2)), 2, LIST)), "expected winner is 2, allowed 0..1"),
    ],
)
def test_malformed_submissions_are_named(data: bytes, message: str) -> None:
    with pytest.raises(MalformedPayloadError, match=message):
        decode_joint(data, 4)


memories = st.builds(
    Memory,
    st.builds(
        JointState,
        st.none() | st.just(RULE.first_state().before),
        st.integers(-24, 12),
        st.lists(st.integers(0, 16), min_size=4, max_size=4).map(tuple),
    ),
    st.none() | st.builds(Origin, st.binary(min_size=32, max_size=32), st.integers(0, 500)),
    st.dictionaries(st.sampled_from(FOUR), lists),
    st.sets(st.sampled_from(FOUR)).map(lambda silent: tuple(author for author in FOUR if author in silent)),
)


@given(memories)
def test_what_is_kept_of_a_generation_has_one_form(memory: Memory) -> None:
    data = encode_memory(memory, RULE)
    assert len(data) <= memory_bytes_max(4, 4)
    kept = decode_memory(data, RULE, 20)
    assert kept == memory
    assert list(kept.lists) == list(memory.lists)
    for end in range(len(data)):
        with pytest.raises(StoredStateError):
            decode_memory(data[:end], RULE, 20)


def test_what_is_kept_of_another_network_is_refused() -> None:
    data = encode_memory(Memory(RULE.first_state(), None, {FOUR[3]: LIST}), RULE)
    fewer = JointRule(NETWORK, FOUR[:3], structs.replace(RULES, offspring=4))
    with pytest.raises(StoredStateError):
        decode_memory(data, fewer, 20)
    with pytest.raises(StoredStateError, match="holds 4 bytes of an earlier model, expected 0 or 80"):
        decode_memory(data + bytes(4), RULE, 20)
    with pytest.raises(StoredStateError, match=r"of another form .9. than this version reads .2."):
        decode_memory(b"\x09" + data[1:], RULE, 20)
    with pytest.raises(StoredStateError, match="says 7 of whether a member is silent, allowed 0 or 1"):
        decode_memory(data[:6] + b"\x07" + data[7:], RULE, 20)
