"""One order of blocks, from whatever each member has in memory; the chain of commits."""

import itertools
import random
import re

import pytest

from consensus.steps import genesis_step
from consensus.total_order import linearizer as order_module
from consensus.total_order.commit_rule import CommitRule
from consensus.total_order.dag import Dag, Vertex
from consensus.total_order.linearizer import CommitRecord, Linearizer, chain_digests, median_time_ms
from node.lab.checkers.bounds import sizes_of
from tests.consensus.total_order.forge import NETWORK, Forge, Forged, own_first
from tests.consensus.total_order.test_commit_rule import Follower, Graph, full_rounds


def run(graph: Graph, depth: int, order_of_blocks: list[Forged]) -> tuple[Linearizer, list[CommitRecord]]:
    """Commit as a machine does: with a horizon that moves and a graph that forgets."""
    follower = Follower(graph.forge)
    order = Linearizer(NETWORK, depth)
    records: list[CommitRecord] = []

    def settle(accepted: list[Vertex]) -> None:
        for vertex in accepted:
            follower.rule.add(vertex)
        for decision in follower.rule.decide():
            if decision.leader is not None:
                records.append(order.commit(decision.leader)[0])
                settle(follower.dag.prune(order.horizon)[1] if order.horizon > follower.dag.horizon else [])

    for block in order_of_blocks:
        if block.block.content.round > follower.dag.horizon:
            settle(follower.dag.add(block.digest, block.block, set()))
    return order, records


@pytest.mark.parametrize("seed", range(40))
def test_every_causal_order_gives_the_same_chain(seed: int) -> None:
    graph = Graph(4 + seed % 4, 14, seed)
    depth = (3, 5, 60)[seed % 3]
    chains = [run(graph, depth, graph.causal_order()) for _ in range(3)]
    assert len({order.digest for order, _ in chains}) == 1
    records = chains[0][1]
    named = [(reference.round, reference.author) for record in records for reference in record.references]
    assert len(named) == len(set(named)), "at most one block of an author and round"
    for record in records:
        assert list(record.references) == sorted(record.references)
    assert chain_digests(NETWORK, genesis_step(NETWORK), records) == [order_module.commit_digest(NETWORK, r) for r in records]


def test_of_two_blocks_in_one_history_the_lower_digest_is_delivered() -> None:
    forge = Forge(4)
    twins = sorted((forge.first(3, time_ms=copy) for copy in (1, 2)), key=lambda twin: twin.digest)
    first = [forge.first(author) for author in (0, 1, 2)]
    second = [forge.on(0, [*first, twins[1]]), forge.on(1, [*first, twins[0]]), forge.on(2, first)]
    third = forge.block(3, 3, own_first(3, [twins[0].reference, *[b.reference for b in second]]))
    dag = Dag(forge.committee)
    rule = CommitRule(forge.committee, dag)
    for block in (*first, *twins, *second, third):
        for vertex in dag.add(block.digest, block.block, set()):
            rule.add(vertex)
    record, added = Linearizer(NETWORK, 60).commit(dag.accepted[third.digest])
    assert [vertex.digest for vertex in added if (vertex.author, vertex.round) == (3, 1)] == [twins[0].digest]
    assert len(record.references) == 8


def test_a_commit_that_is_too_long_goes_on_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "REFERENCES_MAX", 6)
    forge = Forge(4)
    rounds = full_rounds(forge, 5)
    follower = Follower(forge)
    for block in itertools.chain(*rounds):
        follower.add(block)
    order = Linearizer(NETWORK, 60)
    leaders = [follower.dag.accepted[rounds[number][0].digest] for number in (3, 4)]
    records = [order.commit(leader)[0] for leader in leaders]
    named = [reference for record in records for reference in record.references]
    assert [len(record.references) for record in records] == [6, 6]
    assert named == sorted(named)
    assert len(set(named)) == 12


def test_the_time_of_a_commit_is_the_lower_median_and_never_goes_back() -> None:
    forge = Forge(4)
    times = {0: 5_000, 1: 1_000, 2: 9_000_000, 3: 4_000}
    first = [forge.first(author, time_ms=time_ms) for author, time_ms in times.items()]
    second = [forge.on(author, first, time_ms=10) for author in range(4)]
    third = [forge.on(author, second) for author in range(4)]
    follower = Follower(forge)
    for block in (*first, *second, *third):
        follower.add(block)
    vertices = follower.dag.accepted
    assert median_time_ms(vertices[first[1].digest]) == 0, "genesis has no time"
    assert median_time_ms(vertices[second[2].digest]) == 4_000
    assert median_time_ms(vertices[third[3].digest]) == 10
    order = Linearizer(NETWORK, 60)
    assert [order.commit(vertices[block.digest])[0].time_ms for block in (first[1], second[2], third[3])] == [0, 4_000, 4_000]


def test_the_horizon_follows_the_leader_of_the_last_commit() -> None:
    forge = Forge(4)
    rounds = full_rounds(forge, 9)
    follower = Follower(forge)
    for block in itertools.chain(*rounds):
        follower.add(block)
    order = Linearizer(NETWORK, 3)
    horizons = []
    for number in (1, 2, 8):
        record, _ = order.commit(follower.dag.accepted[rounds[number - 1][0].digest])
        horizons.append(order.horizon)
    assert horizons == [0, 0, 5]
    assert min(reference.round for reference in record.references) == 2, "the horizon of the commit before counts"
    assert sizes_of(order)["Linearizer._ordered"] == 3, "rounds 6 to 8"


def test_a_chain_is_broken_by_any_change() -> None:
    graph = Graph(4, 0, 0)
    _, records = run(graph, 60, list(itertools.chain(*full_rounds(graph.forge, 9))))
    assert len(records) == 7
    chance = random.Random(1)
    for _ in range(10):
        broken = list(records)
        del broken[chance.randrange(len(records) - 1)]
        assert chain_digests(NETWORK, genesis_step(NETWORK), broken) is None
    order = Linearizer(NETWORK, 60)
    with pytest.raises(AssertionError, match=re.escape("commit 2 after 0")):
        order.append(records[1])
