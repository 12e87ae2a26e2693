"""Who has no part in it once all is calm is named, though everybody's head moves on."""

from consensus.effects import Guard, Record, SolvePuzzle
from consensus.total_order.block import Reference
from consensus.total_order.linearizer import CommitRecord
from consensus.total_order.records import record_of_commit
from consensus.types import Instant
from node.lab.checkers.progress import PAUSE_MS_MAX, Parts
from tests.node.lab.runs.streams import ALICE, BOB, MEMBERS, seen

END = Instant(12_000)


def watched(parts: Parts, *events) -> Parts:
    parts.calm(Instant(0))
    for event in events:
        parts.see(event)
    return parts


def leads(peer, *times: int):
    return [seen(peer, SolvePuzzle(b"prefix", 1), at=at) for at in times]


def test_who_works_on_no_puzzle_for_half_a_calm_is_kept_from_leading() -> None:
    parts = watched(Parts(), *leads(ALICE, *range(0, 12_000, 1_000)), *leads(BOB, 500, 1_500, 11_000))
    assert parts.kept_out([ALICE], END) is None
    peer, detail = parts.kept_out([ALICE, BOB], END)
    assert (peer, detail) == (BOB, "was kept from leading: it worked on no puzzle for 9500 ms of 12000 ms without a fault")


def test_who_never_leads_or_stops_before_the_end_is_kept_from_leading_too() -> None:
    assert watched(Parts()).kept_out([ALICE], END)[0] == ALICE
    last = END - PAUSE_MS_MAX - 1
    assert watched(Parts(), *leads(ALICE, 0, 3_000, last)).kept_out([ALICE], END)[0] == ALICE
    assert watched(Parts(), *leads(ALICE, 0, 3_000, last + 1)).kept_out([ALICE], END) is None


def test_who_signs_no_block_of_a_total_order_is_kept_from_voting() -> None:
    parts = watched(Parts(MEMBERS), *(seen(ALICE, Guard(number), at=1_000 * number) for number in range(12)))
    assert parts.kept_out([ALICE], END) is None
    assert "kept from voting" in parts.kept_out([ALICE, BOB], END)[1]


def test_whose_blocks_are_hardly_ever_committed_is_heard_too_little() -> None:
    def commit(index: int, authors: tuple[int, ...]) -> Record:
        references = tuple(Reference(index, author, bytes([author]) * 32) for author in authors)
        return record_of_commit(CommitRecord(index, bytes(32), references[0], index, references))

    signing = [seen(peer, Guard(at), at=at) for at in range(0, 12_000, 1_000) for peer in (ALICE, BOB)]
    bobs = MEMBERS.index(BOB)
    all_but_bob = tuple(author for author in range(len(MEMBERS)) if author != bobs)
    commits = [
        seen(ALICE, commit(index, all_but_bob if index % 5 else tuple(range(len(MEMBERS)))), at=9) for index in range(1, 60)
    ]
    parts = watched(Parts(MEMBERS), *signing, *commits)
    peer, detail = parts.kept_out([ALICE, BOB], END)
    assert peer == BOB
    assert "heard too little" in detail


def test_nobody_is_kept_out_where_nobody_has_said_that_all_is_calm() -> None:
    assert Parts().kept_out([ALICE], END) is None
