import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.proof_of_work.block_index import BlockIndex
from consensus.proof_of_work.final_chain import FinalChain
from tests.consensus.proof_of_work.test_block_index import timed_chain


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
