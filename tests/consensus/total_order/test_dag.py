"""Acceptance in causal order, the horizon, twins and large payloads."""

import functools
import itertools
import operator
import random

import pytest

from consensus.total_order import block as block_module
from consensus.total_order.block import Reference
from consensus.total_order.dag import Dag, Vertex
from node.lab.checkers.bounds import sizes_of
from tests.consensus.total_order.forge import Forge, Forged, attachment, item
from tests.consensus.total_order.test_commit_rule import full_rounds

FORGE = Forge(4)
ROUNDS = full_rounds(FORGE, 8)
ALL = list(itertools.chain(*ROUNDS))


def add(dag: Dag, block: Forged, lacking: set[bytes] | None = None) -> list[bytes]:
    return [vertex.digest for vertex in dag.add(block.digest, block.block, lacking or set())]


def filled(blocks: list[Forged]) -> Dag:
    dag = Dag(FORGE.committee)
    for block in blocks:
        add(dag, block)
    return dag


@pytest.mark.parametrize("seed", range(20))
def test_any_order_accepts_all_parents_first(seed: int) -> None:
    order = list(ALL)
    random.Random(seed).shuffle(order)
    dag = Dag(FORGE.committee)
    accepted: list[Vertex] = []
    for block in order:
        accepted += dag.add(block.digest, block.block, set())
    assert {vertex.digest for vertex in accepted} == {block.digest for block in ALL}
    seen: set[bytes] = set()
    for vertex in accepted:
        assert {parent.digest for parent in vertex.block.content.parents if parent.round > 0} <= seen
        seen.add(vertex.digest)
    assert (dag.suspended, list(dag.wanted())) == ({}, [])
    assert (dag.quorum_round, dag.highest_round) == (8, 8)


def test_a_suspended_block_wants_what_is_not_here() -> None:
    dag = filled(ROUNDS[0][:3])
    assert add(dag, ROUNDS[1][0]) == []
    assert list(dag.wanted()) == [ROUNDS[0][3].reference]
    assert add(dag, ROUNDS[2][1]) == []
    assert {reference.digest for reference in dag.wanted()} == {
        ROUNDS[0][3].digest,
        *(block.digest for block in ROUNDS[1][1:]),
    }
    assert add(dag, ROUNDS[0][3]) == [ROUNDS[0][3].digest, ROUNDS[1][0].digest]


@pytest.mark.parametrize("missing_round", [1, 2, 3])
def test_a_suspended_block_across_the_horizon_is_accepted(missing_round: int) -> None:
    lost = ROUNDS[missing_round - 1][3]
    dag = filled([block for block in ALL if block is not lost])
    assert len(dag.suspended) == (8 - missing_round) * 4
    forgotten, accepted = dag.prune(missing_round)
    assert [vertex.round for vertex in accepted] == sorted(
        block.block.content.round for block in ALL if block.block.content.round > missing_round
    )
    assert all(vertex.round <= missing_round for vertex in forgotten)
    assert (dag.suspended, list(dag.wanted()), dag.crossed) == ({}, [], 4)


def test_suspended_blocks_below_the_horizon_are_dropped_and_their_children_accepted() -> None:
    dag = filled([block for block in ALL if block is not ROUNDS[0][3]])
    _, accepted = dag.prune(3)
    assert sorted(vertex.round for vertex in accepted) == [4] * 4 + [5] * 4 + [6] * 4 + [7] * 4 + [8] * 4
    assert dag.dropped == 8
    assert dag.suspended == {}


def test_what_is_forgotten_holds_nothing_in_memory() -> None:
    dag = filled(ALL)
    forgotten, _ = dag.prune(8)
    assert len(forgotten) == len(ALL)
    assert all(vertex.parents == () for vertex in forgotten)
    held = sizes_of(dag)
    assert {name for name, size in held.items() if size} == {"Committee._indices", "Dag.kept_rounds", "Dag.newest"}


def test_a_parent_named_by_a_wrong_round_or_author_is_a_lie() -> None:
    for wrong in (Reference(1, 2, ROUNDS[0][3].digest), Reference(1, 1, ROUNDS[0][2].digest)):
        parents = [ROUNDS[0][0].reference, ROUNDS[0][1].reference, ROUNDS[0][2].reference, wrong]
        named = {parent.author: parent for parent in parents}
        liar = FORGE.block(0, 2, named.values())
        dag = filled(ROUNDS[0])
        assert add(dag, liar) == []
        assert dag.take_false_parents() == [(liar.block, dag.accepted[wrong.digest].block)]
        assert dag.take_false_parents() == []


def test_twins_are_kept_side_by_side() -> None:
    twin = FORGE.first(2, time_ms=1)
    dag = filled([*ROUNDS[0], twin])
    assert dag.slot(2, 1) == (ROUNDS[0][2].digest, twin.digest)
    one = dag.round(1)
    assert one is not None
    assert one.has_twins
    assert dag.authors(1) == 0b1111
    dag.prune(1)
    assert (sizes_of(dag)["KeptTwins._bytes"], dag._twins.total_bytes) == (0, 0)  # their bytes show nowhere else


@pytest.mark.parametrize(("name", "bound"), [("TWINS_MAX", 1), ("TWINS_BYTES_MAX", 200)])
def test_over_the_total_only_blocks_without_a_twin_may_ask_for_twins(
    monkeypatch: pytest.MonkeyPatch, name: str, bound: int
) -> None:
    monkeypatch.setattr(block_module, name, bound)
    twins = [FORGE.first(3, time_ms=copy) for copy in range(1, 5)]
    dag = filled([*ROUNDS[0][:3], twins[0], twins[1]])
    first = FORGE.on(0, [*ROUNDS[0][:3], twins[2]])
    second = FORGE.on(0, [*ROUNDS[0][:3], twins[3]])
    add(dag, first)
    add(dag, second)
    assert dag.has_room_for_twin(twins[2].digest)
    assert not dag.has_room_for_twin(twins[3].digest), "only a twin needs it"


def test_a_block_waits_for_its_large_payloads() -> None:
    payload = attachment("gradient")
    block = FORGE.first(0, attachments=(payload,))
    dag = Dag(FORGE.committee)
    assert add(dag, block, {payload.digest}) == []
    assert dag.is_named(payload.digest)
    assert [vertex.digest for vertex in dag.on_attachment_held(payload.digest)] == [block.digest]


def test_the_newest_block_within_a_window_of_rounds() -> None:
    dag = filled(ALL)
    newest = dag.newest_within(1, 0, 5)
    assert newest is not None
    assert newest.reference == ROUNDS[4][1].reference
    assert dag.newest_within(1, 8, 9) is None
    assert dag.newest_within(1, 5, 5) is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_f_plus_1_members_that_build_on_a_block_without_its_payload_are_told_as_its_holders_once(
    order: tuple[int, ...],
) -> None:
    named = FORGE.on(3, ROUNDS[0], attachments=(attachment("g"),), items=(item(),))
    above = FORGE.on(1, [*ROUNDS[1][:3], named])
    second = [above, *(FORGE.on(author, [*ROUNDS[1][:3], named]) for author in (0, 2))]
    top = FORGE.on(2, second)
    blocks = [named, above, top]
    dag = filled([*ROUNDS[0], *ROUNDS[1][:3]])
    told: list[int] = []
    for place in order:
        block = blocks[place]
        add(dag, block, {large.digest for large in block.block.content.attachments})
        told += [members for of, members in dag.take_holders() if of is named.block]
    holders = functools.reduce(operator.or_, told)
    assert holders in {0b1010, 0b1110}, "its author, and that of its child; where both come at once that of the next child, too"
    assert (sum(told), dag.take_holders()) == (holders, [])
    dag.on_attachment_held(attachment("g").digest)
    assert add(dag, second[1]) == [second[1].digest]
    assert dag.take_holders() == []
