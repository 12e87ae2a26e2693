from consensus.proof_of_work.link import Link
from consensus.proof_of_work.rivals import RIVALS_MAX, Rival, Rivals
from consensus.types import Height
from tests.consensus.proof_of_work.test_block_tree import ROOT, branch_of, link_on


def rival(link: Link) -> Rival:
    return Rival(link, Height(0))


def test_a_long_rival_branch_takes_the_room_of_two_blocks() -> None:
    rivals = Rivals()
    branch = branch_of(ROOT, range(1_000))
    for link in branch:
        rivals.add(rival(link))
    assert len(rivals) == 2
    assert [rivals.get(link.id) for link in branch[-3:]] == [None, rival(branch[-2]), rival(branch[-1])]


def test_the_lightest_of_too_many_rivals_is_forgotten() -> None:
    rivals = Rivals()
    links = [link_on(ROOT, number, work=number + 1) for number in range(RIVALS_MAX + 1)]
    for link in links:
        rivals.add(rival(link))
    assert len(rivals) == RIVALS_MAX
    assert (rivals.get(links[0].id), rivals.get(links[1].id)) == (None, rival(links[1]))
