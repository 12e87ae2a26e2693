"""The commit rule against an oracle that knows no shortcuts, on random graphs with equivocation, in random causal orders."""

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.total_order.block import Reference
from consensus.total_order.commit_rule import CommitRule, DecisionRule, LeaderStatus
from consensus.total_order.dag import Dag, Vertex
from tests.consensus.total_order.forge import Forge, Forged
from tests.consensus.total_order.oracle import Oracle

SIZES = (1, 2, 3, 4, 5, 6, 7, 8)


@dataclass
class Follower:
    """The graph and the rule as a machine uses them."""

    forge: Forge
    decisions: list[LeaderStatus] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dag = Dag(self.forge.committee)
        self.rule = CommitRule(self.forge.committee, self.dag)

    def add(self, block: Forged) -> list[Vertex]:
        accepted = self.dag.add(block.digest, block.block, set())
        for vertex in accepted:
            self.rule.add(vertex)
        self.decisions += self.rule.decide()
        return accepted

    @property
    def verdicts(self) -> list[tuple[int, bytes | None]]:
        return [(made.round, None if made.leader is None else made.leader.digest) for made in self.decisions]


@dataclass
class Graph:
    """A random graph: up to f members do what they like, the others create one block a round at most."""

    size: int
    rounds: int
    seed: int

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.forge = Forge(self.size, is_real=False)
        self.faulty = self.random.sample(range(self.size), self.random.randint(0, self.forge.committee.faulty_max))
        self.laziness = self.random.choice((0.0, 0.1, 0.3))
        self.own: dict[int, list[Forged]] = {author: [] for author in range(self.size)}
        self.blocks: list[Forged] = []
        for number in range(1, self.rounds + 1):
            self._grow(number)

    def _grow(self, number: int) -> None:
        before: dict[int, list[Forged]] = {}
        for block in self.blocks:
            if block.block.content.round == number - 1:
                before.setdefault(block.block.content.author, []).append(block)
        made: list[Forged] = []
        for author in range(self.size):
            copies = self.random.choice((1, 2, 2, 3)) if author in self.faulty else 1
            if self.random.random() < self.laziness:
                continue
            created = [self._block(author, number, before, copy) for copy in range(copies)]
            made += [block for block in created if block is not None]
        for block in made:
            self.own[block.block.content.author].append(block)
        self.blocks += made

    def _block(self, author: int, number: int, before: dict[int, list[Forged]], copy: int) -> Forged | None:
        if number == 1:
            return self.forge.first(author, time_ms=copy)
        quorum = self.forge.committee.quorum
        others = [other for other in sorted(before) if other != author]
        has_own = author in before
        if len(others) + has_own < quorum:
            return None
        least = max(0, quorum - has_own)
        chosen = self.random.sample(others, self.random.choice((least, len(others), self.random.randint(least, len(others)))))
        parents = [self.random.choice(before[other]).reference for other in sorted(chosen)]
        if has_own:
            mine = self.random.choice(before[author]).reference
        else:
            mine = self.own[author][-1].reference if self.own[author] else self.forge.genesis[author]
        return self.forge.block(author, number, (mine, *parents), time_ms=copy)

    def causal_order(self) -> list[Forged]:
        """Any order: the graph suspends what comes too early."""
        order = list(self.blocks)
        self.random.shuffle(order)
        if self.random.random() < 0.5:
            order.sort(key=lambda block: block.block.content.round + self.random.randint(0, 4))
        return order


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(SIZES), st.integers(min_value=1, max_value=11), st.integers(min_value=0, max_value=2**32))
def test_the_incremental_rule_decides_as_the_oracle_does(size: int, rounds: int, seed: int) -> None:
    graph = Graph(size, rounds, seed)
    follower = Follower(graph.forge)
    stops = {graph.random.randint(0, max(1, len(graph.blocks))) for _ in range(3)} | {len(graph.blocks)}
    for count, block in enumerate(graph.causal_order(), start=1):
        follower.add(block)
        if count in stops:
            accepted = [(vertex.digest, vertex.block) for vertex in follower.dag.accepted.values()]
            assert follower.verdicts == Oracle(graph.forge.committee, accepted).verdicts()
    assert not follower.dag.suspended
    assert follower.rule.contradiction is None


def test_random_graphs_reach_every_way_to_decide() -> None:
    ways: Counter[DecisionRule] = Counter()
    for seed in range(60):
        graph = Graph(4 + seed % 4, 12, seed)
        follower = Follower(graph.forge)
        for block in graph.causal_order():
            follower.add(block)
        ways.update(made.rule for made in follower.decisions)
    assert set(ways) == set(DecisionRule)


def full_rounds(forge: Forge, rounds: int, absent: tuple[tuple[int, int], ...] = ()) -> list[list[Forged]]:
    """Everybody names everybody; `absent`: (round, author) without a block."""
    made: list[list[Forged]] = []
    newest: dict[int, Forged] = {}
    for number in range(1, rounds + 1):
        authors = [author for author in range(forge.committee.size) if (number, author) not in absent]
        if number == 1:
            made.append([forge.first(author) for author in authors])
        else:
            before = made[-1]
            made.append(
                [
                    forge.block(
                        author,
                        number,
                        (
                            newest[author].reference,
                            *[block.reference for block in before if block.block.content.author != author],
                        ),
                    )
                    for author in authors
                ]
            )
        newest |= {block.block.content.author: block for block in made[-1]}
    return made


def test_a_leader_commits_three_messages_after_its_block() -> None:
    forge = Forge(4)
    follower = Follower(forge)
    for block in itertools.chain(*full_rounds(forge, 3)):
        follower.add(block)
    assert [(made.round, made.rule) for made in follower.decisions] == [(1, DecisionRule.DIRECT_COMMIT)]


def test_an_absent_leader_is_skipped_by_the_next_round() -> None:
    forge = Forge(4)
    follower = Follower(forge)
    for block in itertools.chain(*full_rounds(forge, 4, absent=((2, 2),))):
        follower.add(block)
    assert [(made.round, made.rule) for made in follower.decisions] == [
        (1, DecisionRule.DIRECT_COMMIT),
        (2, DecisionRule.DIRECT_SKIP),
    ]


def test_two_certified_blocks_in_one_slot_are_a_contradiction() -> None:
    forge = Forge(4)
    twins = [forge.first(1, time_ms=copy) for copy in (1, 2)]
    first = [forge.first(author) for author in (0, 2, 3)]
    follower = Follower(forge)
    for block in (*first, *twins):
        follower.add(block)
    for twin in twins:  # three members vote for both: more than f are faulty
        second = [forge.on(author, [*first, twin]) for author in (0, 2, 3)]
        for block in (*second, forge.on(0, second, time_ms=7)):
            follower.add(block)
    assert follower.rule.contradiction is not None
    assert follower.rule.contradiction.round == 1
    assert "two blocks of one leader are certified" in follower.rule.contradiction.detail
    assert follower.decisions == []


VOTES = list(itertools.product(("a", "b", None), repeat=3))


def test_a_quorum_that_does_not_vote_for_a_certified_block_is_a_contradiction() -> None:
    """Members 0 and 2 sign two blocks for round 2: with one the leader's block of round 1 is certified, with the other not."""
    forge = Forge(4)
    first = [forge.first(author) for author in range(4)]
    voting = [forge.on(author, first[:3]) for author in (0, 1, 2)]
    certificate = forge.on(0, voting)
    blaming = [forge.on(author, [first[0], first[2], first[3]], time_ms=7) for author in (0, 2, 3)]
    follower = Follower(forge)
    for block in [*first, *voting, certificate, *blaming]:
        assert follower.rule.contradiction is None
        follower.add(block)
    contradiction = follower.rule.contradiction
    assert contradiction is not None
    assert contradiction.detail == "round 1: a quorum did not vote for a block that another quorum certified"


@pytest.mark.parametrize("votes", VOTES)
def test_no_schedule_of_four_members_with_one_equivocator_decides_a_slot_twice(votes: tuple[str | None, ...]) -> None:
    """Exhaustive for one slot: the leader of round 3 shows two blocks, each honest member of round 4 votes for one or for none,
    the equivocator has a block of each kind, and every choice of parents is made in round 5, by everybody."""
    forge = Forge(4, is_real=False)
    base, options = _slot_of_an_equivocator(forge, votes)
    blocks = [*base, *itertools.chain(*options.values())]
    oracle = Oracle(forge.committee, [(block.digest, block.block) for block in blocks])
    certified = {
        author: {_certified(oracle, block) for block in made}  # what this member's block of round 5 can certify
        for author, made in options.items()
    }
    leaders = set().union(*certified.values()) - {None}
    assert len(leaders) <= 1, "two blocks of one slot can be certified"
    blamers = {node.author for node in oracle.at(4) if oracle.vote(node) is None}
    if len(blamers) >= 3:
        assert not leaders, "skipped directly in one view, certified in another"
    for honest in itertools.product(*(certified[author] for author in (0, 1, 2))):
        can_commit = sum(leader is not None for leader in honest) + (certified[3] != {None}) >= 3
        for triple in itertools.combinations((*honest, None), 3):  # an anchor that the faulty member tells nothing
            assert not can_commit or set(triple) & leaders, "committed directly in one view, skipped by an anchor"
    follower = Follower(forge)
    for block in blocks:
        follower.add(block)
    assert follower.verdicts == oracle.verdicts()
    assert follower.rule.contradiction is None


def test_the_schedules_of_one_equivocator_reach_commit_and_skip() -> None:
    outcomes = set()
    for votes in VOTES:
        forge = Forge(4, is_real=False)
        base, options = _slot_of_an_equivocator(forge, votes)
        blocks = [*base, *itertools.chain(*options.values())]
        decided = Oracle(forge.committee, [(block.digest, block.block) for block in blocks]).directly(3)
        outcomes.add((decided[0], decided[1] is not None))
    assert outcomes == {(True, True), (True, False), (False, False)}


def _slot_of_an_equivocator(forge: Forge, votes: tuple[str | None, ...]) -> tuple[list[Forged], dict[int, list[Forged]]]:
    """Rounds 1 to 4, and what each member may create in round 5."""
    first, second = full_rounds(forge, 2)
    honest = [forge.on(author, second) for author in (0, 1, 2)]
    parents = forge.on(3, second).block.content.parents
    twins = {name: forge.block(3, 3, parents, time_ms=number) for number, name in enumerate("ab")}
    voters = [
        forge.on(author, [*honest, *([twins[vote]] if vote else [])]) for author, vote in zip((0, 1, 2), votes, strict=True)
    ]
    faulty = [forge.on(3, [*honest, twin]) for twin in twins.values()]
    faulty.append(forge.block(3, 4, (second[3].reference, *[block.reference for block in honest])))
    choices = [
        [*some, *more]
        for some in (voters, voters[1:], [voters[0], voters[2]], voters[:2])
        for more in ([], *[[one] for one in faulty])
        if len(some) + len(more) >= 3
    ]
    base = [*first, *second, *honest, *twins.values(), *voters, *faulty]
    return base, {author: [_top(forge, author, choice) for choice in choices] for author in (0, 1, 2, 3)}


def _certified(oracle: Oracle, block: Forged) -> bytes | None:
    node = oracle.nodes[block.digest]
    return next((leader.digest for leader in oracle.slot(3) if oracle.is_certificate(node, leader)), None)


def _top(forge: Forge, author: int, parents: list[Forged]) -> Forged:
    """A block of round 5; who has no parent of round 4 among the chosen names an earlier one of its own."""
    chosen = [block.reference for block in parents if block.block.content.author != author]
    own = [block.reference for block in parents if block.block.content.author == author]
    mine = own[0] if own else next(ref for ref in _earlier(forge, parents) if ref.author == author)
    return forge.block(author, 5, (mine, *chosen))


def _earlier(forge: Forge, parents: list[Forged]) -> list[Reference]:
    return [reference for block in parents for reference in block.block.content.parents] + list(forge.genesis)
