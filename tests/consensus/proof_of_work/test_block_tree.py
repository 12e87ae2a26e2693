""""""

import hashlib
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from consensus.effects import Offence
from consensus.proof_of_work import block_tree
from consensus.proof_of_work.block_tree import BlockIndex, BlockStatus, BlockTree, genesis_link, header_fault, next_target
from consensus.proof_of_work.puzzle import scaled_target, start_target, work_of
from consensus.proof_of_work.rules import ContestDepths
from consensus.steps import Verdict
from consensus.types import Height, StepId
from tests.consensus.proof_of_work.forge import RULES, START_MS, Forge, person

HARD = structs.replace(RULES, start_attempts=1_000)
FORGE = Forge(HARD)
ALICE = person("alice")


def timed_chain(times: list[int], forge: Forge = FORGE) -> list[BlockIndex]:
    """Links with these times in ms after the start; the puzzles are not solved, the rules of time not kept."""
    links = [forge.genesis]
    for time_ms in times:
        body = forge.body(links[-1])
        draft = forge.draft(links[-1], ALICE, body, START_MS + time_ms)
        links.append(forge.forged(links[-1], forge.seal(draft, body, ALICE, is_solved=False)).link)
    return links


gaps = st.lists(st.integers(min_value=0, max_value=30_000), min_size=1, max_size=25)


@given(gaps)
def test_the_target_depends_on_the_time_since_block_one_alone(steps: list[int]) -> None:
    times = [sum(steps[: index + 1]) for index in range(len(steps))]
    tip = timed_chain(times)[-1]
    drift_ms = times[-1] - times[0] - 1_000 * (len(times) - 1)
    assert next_target(tip, HARD) == scaled_target(start_target(1_000), drift_ms, HARD.half_life_ms)


@given(st.integers(min_value=0, max_value=10**9))
def test_the_wait_before_the_first_block_does_not_matter(wait_ms: int) -> None:
    assert [next_target(link, HARD) for link in timed_chain([wait_ms])] == [start_target(1_000)] * 2


def test_a_pause_of_the_whole_network_counts_as_one_half_life() -> None:
    on_time, paused = [1_000 * height for height in range(10)], [1_000 * height for height in range(9)]
    paused.append(36_000_000)
    assert next_target(timed_chain(paused)[-1], HARD) == scaled_target(
        start_target(1_000), HARD.half_life_ms - 1_000, HARD.half_life_ms
    )
    assert next_target(timed_chain(on_time)[-1], HARD) == start_target(1_000)


def test_a_block_that_is_dated_back_does_not_move_the_schedule() -> None:
    honest = timed_chain([1_000 * height for height in range(20)])
    times = [1_000 * height for height in range(20)]
    times[15] = 9_500
    lied = timed_chain(times)
    assert next_target(lied[-1], HARD) == next_target(honest[-1], HARD)


def test_a_chain_on_schedule_for_ten_thousand_blocks_has_not_drifted() -> None:
    link = timed_chain([0])[-1]
    late = replace(link, height=Height(10_000), elapsed_ms=9_999_000, latest_ms=START_MS + 9_999_000)
    assert next_target(late, HARD) == start_target(1_000)


def test_work_adds_up() -> None:
    links = timed_chain([0, 1_000, 2_000])
    assert [link.work for link in links] == [work_of(start_target(1_000)) * count for count in range(4)]


def test_time_must_be_later_than_the_median_of_the_last_eleven() -> None:
    links = timed_chain([0, 5, 1, 9, 2, 7, 3, 8, 4, 6, 10, 12])
    last_eleven = sorted([5, 1, 9, 2, 7, 3, 8, 4, 6, 10, 12])
    assert links[-1].next_time_min == START_MS + last_eleven[5] + 1


def test_genesis_has_no_time() -> None:
    assert FORGE.genesis.next_time_min == 0


EASY = Forge(RULES)
PARENT = EASY.branch(EASY.genesis, ALICE, 3)[-1].link


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"height": 5}, (Offence.WRONG_HEIGHT, "height is 5, allowed: 4")),
        ({"target": 2**255}, (Offence.WRONG_TARGET, f"target is {2**255:#x}, allowed: {2**256 - 1:#x}")),
        (
            {"time_ms": START_MS + 1_000},
            (Offence.WRONG_TIME, f"time_ms is {START_MS + 1_000}, allowed: {START_MS + 1_001} or later"),
        ),
    ],
)
def test_a_header_is_held_to_the_rules(changes: dict[str, int], fault: tuple[Offence, str] | None) -> None:
    assert header_fault(PARENT, EASY.bent(PARENT, ALICE, **changes).header, RULES) == fault


CONTEST_DEPTH, REFUTED_DEPTH = 3, 5
DEPTHS = ContestDepths(CONTEST_DEPTH, REFUTED_DEPTH)
SEED = b"lots"
ROOT = genesis_link(StepId(b"r" * 32))


def link_on(parent: BlockIndex, name: int, work: int = 10) -> BlockIndex:
    step = StepId(hashlib.blake2b(name.to_bytes(4, "big"), digest_size=32).digest())
    return BlockIndex(step, parent.id, Height(parent.height + 1), 0, 0, 0, parent.work + work, ())


def tree_of_good(*branches: tuple[BlockIndex, ...]) -> BlockTree:
    tree = BlockTree(ROOT, DEPTHS, SEED)
    for branch in branches:
        for link in branch:
            add(tree, link, Verdict.GOOD)
    return tree


def add(tree: BlockTree, link: BlockIndex, verdict: Verdict) -> None:
    assert tree.insert(link)
    tree.give_body(link.id)
    tree.judge(link.id, verdict)


def branch_of(parent: BlockIndex, names: range, work: int = 10) -> tuple[BlockIndex, ...]:
    made: list[BlockIndex] = []
    for name in names:
        made.append(link_on(made[-1] if made else parent, name, work))
    return tuple(made)


# --- the brute-force twin -------------------------------------------------------------------------------------------


@dataclass
class Twin:
    """All that ever happened, and the head found from scratch each time."""

    links: dict[StepId, BlockIndex] = field(default_factory=lambda: {ROOT.id: ROOT})
    verdicts: dict[StepId, Verdict] = field(default_factory=lambda: {ROOT.id: Verdict.GOOD})
    final: BlockIndex = ROOT

    def ancestry(self, link: BlockIndex) -> list[BlockIndex]:
        path = [link]
        while path[-1].id != ROOT.id:
            path.append(self.links[path[-1].parent])
        return path

    def is_eligible(self, link: BlockIndex) -> bool:
        path = self.ancestry(link)
        if any(self.verdicts.get(other.id) in (None, Verdict.INVALID) for other in path):
            return False
        depths = {Verdict.GOOD: 0, Verdict.CONTESTED: CONTEST_DEPTH, Verdict.REFUTED: REFUTED_DEPTH}
        is_deep = all(link.height - other.height >= depths[self.verdicts[other.id]] for other in path)
        return is_deep and self.final in path

    def rank(self, link: BlockIndex) -> tuple[int, bool, int]:
        is_clean = all(self.verdicts[other.id] is Verdict.GOOD for other in self.ancestry(link))
        lot = hashlib.blake2b(link.id, key=SEED, digest_size=8).digest()
        return link.work, is_clean, -int.from_bytes(lot, "big")

    def head(self) -> BlockIndex:
        return max((link for link in self.links.values() if self.is_eligible(link)), key=self.rank)

    def alive(self) -> set[StepId]:
        return {link.id for link in self.links.values() if self.final in self.ancestry(link)}


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_head_is_the_one_that_is_found_from_scratch(data: st.DataObject) -> None:
    tree, twin = BlockTree(ROOT, DEPTHS, SEED), Twin()
    bodiless: list[StepId] = []
    asked: list[StepId] = []
    for name in range(data.draw(st.integers(min_value=1, max_value=60))):
        action = data.draw(st.sampled_from(["insert", "insert", "body", "body", "judge", "judge", "judge", "finalise"]))
        if action == "insert":
            alive = [link for link in tree.links() if tree.status(link.id) is not BlockStatus.INVALID]
            newest = alive[-8:]
            link = link_on(data.draw(st.sampled_from(newest)), name, data.draw(st.integers(min_value=9, max_value=11)))
            assert tree.insert(link)
            twin.links[link.id] = link
            bodiless.append(link.id)
        elif action == "body" and bodiless:
            step = bodiless.pop(data.draw(st.integers(min_value=0, max_value=len(bodiless) - 1)))
            if tree.status(step) is BlockStatus.BODILESS:
                asked.extend(tree.give_body(step))
        elif action == "judge" and asked:
            step = asked.pop(data.draw(st.integers(min_value=0, max_value=len(asked) - 1)))
            verdict = data.draw(
                st.sampled_from([Verdict.GOOD] * 6 + [Verdict.CONTESTED] * 2 + [Verdict.REFUTED, Verdict.INVALID])
            )
            if tree.status(step) is BlockStatus.UNCHECKED:
                asked.extend(tree.judge(step, verdict))
                twin.verdicts[step] = verdict
        elif action == "finalise":
            height = Height(max(0, tree.head.height - CONTEST_DEPTH))
            tree.finalise(height)
            if height > twin.final.height:
                twin.final = next(link for link in twin.ancestry(twin.head()) if link.height == height)
        assert tree.head == twin.head()
        assert {link.id for link in tree.links()} == twin.alive()
        undecided = (BlockStatus.BODILESS, BlockStatus.UNCHECKED)
        assert tree.undecided() == tuple(link for link in tree.links() if tree.status(link.id) in undecided)


# --- by example -----------------------------------------------------------------------------------------------------


def test_most_work_wins_not_most_blocks() -> None:
    long, heavy = branch_of(ROOT, range(3), work=10), branch_of(ROOT, range(10, 12), work=20)
    assert tree_of_good(long, heavy).head == heavy[-1]


def test_ties_are_drawn_anew_by_every_seed() -> None:
    one, other = link_on(ROOT, 1), link_on(ROOT, 2)
    heads = []
    for seed in range(64):
        tree = BlockTree(ROOT, DEPTHS, seed.to_bytes(1, "big"))
        add(tree, one, Verdict.GOOD)
        add(tree, other, Verdict.GOOD)
        heads.append(tree.head)
    assert 16 < heads.count(one) < 48


def test_a_tie_does_not_depend_on_the_order_of_arrival() -> None:
    one, other = link_on(ROOT, 1), link_on(ROOT, 2)
    assert tree_of_good((one,), (other,)).head == tree_of_good((other,), (one,)).head


def test_a_contested_block_is_not_built_on_until_it_lies_deep_under_more_work() -> None:
    ours = branch_of(ROOT, range(2))
    tree = tree_of_good(ours)
    theirs = branch_of(ROOT, range(10, 14))
    add(tree, theirs[0], Verdict.CONTESTED)
    heads = []
    for link in theirs[1:]:
        add(tree, link, Verdict.GOOD)
        heads.append(tree.head)
    assert heads == [ours[-1], ours[-1], theirs[-1]]


def test_a_claim_that_no_rounding_explains_has_to_lie_as_deep_as_what_is_final() -> None:
    """A later one that is merely contested takes nothing away from that."""
    tree = tree_of_good(branch_of(ROOT, range(1)))
    theirs = branch_of(ROOT, range(10, 17))
    verdicts = (Verdict.REFUTED, Verdict.CONTESTED, *[Verdict.GOOD] * 5)
    heights = []
    for link, verdict in zip(theirs, verdicts, strict=True):
        add(tree, link, verdict)
        heights.append(tree.head.height)
    assert heights == [1, 1, 1, 1, 1, 1 + REFUTED_DEPTH, 2 + REFUTED_DEPTH]


def test_depth_alone_does_not_forgive() -> None:
    ours = branch_of(ROOT, range(4))
    tree = tree_of_good(ours)
    theirs = branch_of(ROOT, range(10, 14))
    add(tree, theirs[0], Verdict.CONTESTED)
    for link in theirs[1:]:
        add(tree, link, Verdict.GOOD)
    assert tree.head == ours[-1]
    add(tree, link_on(theirs[-1], 14), Verdict.GOOD)
    assert tree.head.parent == theirs[-1].id


def test_blocks_on_top_of_a_contested_one_are_checked() -> None:
    tree = tree_of_good()
    parent, child = branch_of(ROOT, range(2))
    tree.insert(parent)
    tree.insert(child)
    assert tree.give_body(child.id) == ()
    assert tree.give_body(parent.id) == (parent.id,)
    assert tree.judge(parent.id, Verdict.CONTESTED) == (child.id,)


def test_all_on_top_of_an_invalid_block_is_invalid() -> None:
    tree = tree_of_good()
    branch = branch_of(ROOT, range(3))
    for link in branch:
        tree.insert(link)
        tree.give_body(link.id)
    assert tree.judge(branch[0].id, Verdict.INVALID) == ()
    assert {tree.status(link.id) for link in branch} == {BlockStatus.INVALID}
    assert not tree.insert(link_on(branch[-1], 9))


def test_finality_drops_all_other_branches() -> None:
    ours, theirs = branch_of(ROOT, range(4)), branch_of(ROOT, range(10, 12))
    tree = tree_of_good(ours, theirs)
    assert tree.finalise(Height(2)) == ours[:2]
    assert tree.links() == ours[1:]
    assert tree.head == ours[-1]


def test_a_full_tree_drops_the_lightest_leaf_for_a_heavier_block(monkeypatch) -> None:
    monkeypatch.setattr(block_tree, "TREE_BLOCKS_MAX", 6)
    ours, spam = branch_of(ROOT, range(3)), (link_on(ROOT, 10, 1), link_on(ROOT, 11, 2))
    tree = tree_of_good(ours)
    assert tree.insert(spam[0])
    assert tree.insert(spam[1])
    assert not tree.insert(link_on(ROOT, 12, 1))
    newest = link_on(ours[-1], 3)
    assert tree.insert(newest)
    assert tree.links() == (ROOT, *ours, spam[1], newest)
    assert len(tree) == 6
