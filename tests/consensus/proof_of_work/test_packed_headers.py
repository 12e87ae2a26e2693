""""""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.proof_of_work import packed_headers as ahead
from consensus.proof_of_work.block_tree import BlockIndex
from consensus.proof_of_work.packed_headers import BRANCHES_MAX, RIVALS_MAX, Branch, FinalChain, HeaderBranches
from consensus.types import Height
from tests.consensus.proof_of_work.forge import Forge, person
from tests.consensus.proof_of_work.test_block_tree import ROOT, branch_of, link_on, timed_chain


@given(st.lists(st.integers(min_value=0, max_value=100_000), min_size=0, max_size=20))
def test_every_link_comes_back_as_it_was(times: list[int]) -> None:
    links = timed_chain(times)
    chain = FinalChain(links[0])
    for link in links[1:]:
        chain.append(link)
    assert [chain.link_at(height) for height in range(chain.height + 1)] == links
    assert [chain.height_of(link.id) for link in links] == [link.height for link in links]


def three_final() -> tuple[FinalChain, list[BlockIndex]]:
    links = timed_chain([0, 1, 2, 3])
    chain = FinalChain(links[0])
    for link in links[1:3]:
        chain.append(link)
    return chain, links


def test_it_knows_which_block_is_final_at_a_height() -> None:
    chain, links = three_final()
    assert [chain.has_at(height, links[2].id) for height in (-1, 1, 2, 3)] == [False, False, True, False]
    assert chain.height_of(links[3].id) is None


def test_only_the_next_block_can_become_final() -> None:
    chain, links = three_final()
    with pytest.raises(AssertionError, match="after 2"):
        chain.append(links[2])


FORGE = Forge()
CHAIN = tuple(forged.link for forged in FORGE.branch(FORGE.genesis, person("alice"), 40))


def grown(links: tuple[BlockIndex, ...], base: BlockIndex, fork_height: Height | None = None) -> HeaderBranches:
    made = HeaderBranches()
    parent = base
    for link in links:
        assert made.extend(parent, fork_height, link)
        parent = link
    return made


@pytest.mark.parametrize("base_height", [0, 5, 20])
def test_a_packed_link_reads_back_as_it_was(base_height: int) -> None:
    base = CHAIN[base_height - 1] if base_height else FORGE.genesis
    branch = Branch(base, None)
    for link in CHAIN[base_height:]:
        branch.append(link)
    assert [branch.link_at(height) for height in range(base_height + 1, 41)] == list(CHAIN[base_height:])
    assert (branch.has(40, CHAIN[-1].id), branch.has(base_height, base.id), branch.has(41, CHAIN[-1].id)) == (
        True,
        False,
        False,
    )


def test_a_fork_in_the_middle_of_a_branch_has_the_same_blocks_below_it() -> None:
    made = grown(CHAIN[:20], FORGE.genesis)
    other = FORGE.child(CHAIN[9], person("bob")).link
    assert made.extend(CHAIN[9], None, other)
    heavier, lighter = made.branches
    assert (heavier.tip, lighter.tip) == (CHAIN[19], other)
    assert [lighter.id_at(height) for height in range(1, 11)] == [link.id for link in CHAIN[:10]]


def test_the_lightest_of_too_many_branches_is_forgotten() -> None:
    made = HeaderBranches()
    links = [link_on(ROOT, number, work=number + 1) for number in range(BRANCHES_MAX + 1)]
    for link in links:
        made.extend(ROOT, None, link)
    assert len(made.branches) == BRANCHES_MAX
    assert made.find(links[0].height, links[0].id) is None


def test_of_too_many_rivals_the_heaviest_and_the_newest_stay() -> None:
    made = HeaderBranches()
    links = [link_on(ROOT, number, work=1_000 - number) for number in range(RIVALS_MAX + 2)]
    for link in links:
        made.extend(ROOT, Height(0), link)
    kept = [made.find(link.height, link.id) is not None for link in links]
    assert kept == [True, False, False, *[True] * (RIVALS_MAX - 1)]
    assert made.branches == ()


def test_a_long_rival_branch_is_one_branch() -> None:
    made = grown(branch_of(ROOT, range(1_000)), ROOT, Height(0))
    assert made.heaviest_rival is not None
    assert len(made.heaviest_rival) == 1_000


def test_there_is_room_for_so_many_links_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LINKS_MAX", 10)
    made = grown(CHAIN[:10], FORGE.genesis)
    assert not made.extend(CHAIN[9], None, CHAIN[10])
    assert made.branches[0].tip == CHAIN[9]


def test_the_branch_that_a_connected_peer_is_growing_outlives_heavier_ones_until_the_peer_leaves() -> None:
    liar, honest = person("liar").id, person("honest").id
    made = HeaderBranches()
    for number in range(BRANCHES_MAX):
        made.extend(ROOT, None, link_on(ROOT, number, work=1_000 + number), liar)
    parent = ROOT
    for number, link in enumerate(CHAIN):
        assert made.extend(FORGE.genesis if number == 0 else parent, None, link, honest)
        parent = link
        made.extend(ROOT, None, link_on(ROOT, 100 + number, work=2_000 + number), liar)
    assert made.find(CHAIN[-1].height, CHAIN[-1].id) is not None
    assert len(made.branches) == BRANCHES_MAX
    made.leave(honest)
    made.extend(ROOT, None, link_on(ROOT, 500, work=3_000), liar)
    assert made.find(CHAIN[-1].height, CHAIN[-1].id) is None


def test_copies_and_rivals_give_way_to_new_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LINKS_MAX", 40)
    made = grown(CHAIN[:15], FORGE.genesis)
    made.extend(CHAIN[13], None, FORGE.child(CHAIN[13], person("bob")).link)
    for number in range(6):
        made.extend(ROOT, Height(0), link_on(ROOT, number, work=number))
    assert made.has_room
    for parent, link in pairwise(CHAIN[14:]):
        assert made.extend(parent, None, link) == (link.height < 40)
    assert made.heaviest_rival is not None
    assert len(made.branches) == 1
