"""Bodies: the lowest first, in batches, within what servers grant."""

from consensus.effects import Effect
from consensus.proof_of_work import peers
from consensus.proof_of_work.block_download import BODIES_PER_REQUEST, BODIES_WAITING_MAX, HEDGE_MS
from consensus.proof_of_work.messages import Blocks, Busy, GetBlocks, GetHeaders, Headers, Place
from consensus.proof_of_work.peers import (
    ANSWER_TIMEOUT_MS,
    OWED_MAX,
    REQUESTS_ASKED_BURST,
    REQUESTS_ASKED_PER_SECOND,
    REQUESTS_BURST,
    REQUESTS_PER_SECOND,
)
from consensus.protocol import Checked
from consensus.steps import Verdict
from tests.consensus.proof_of_work.bench import OTHER, PEER, Bench, refusals, sent
from tests.consensus.proof_of_work.test_header_sync import CHAIN, FORGE, blocks_for, headers, later, tip_at


def heights(effects: tuple[Effect, ...]) -> list[int]:
    return [place.height for _, request in sent(effects, GetBlocks) for place in request.places]


def test_pushed_blocks_above_a_gap_take_no_room_from_the_lowest_missing_body() -> None:
    bench = Bench()
    bench.receive(tip_at(200))
    bench.receive(headers(1, 128))
    bench.push(*CHAIN[20:128], peer=OTHER.id)
    assert bench.machine.status.height == 0
    late = later(bench, ANSWER_TIMEOUT_MS)  # who was asked for the lowest has not answered
    bench.receive(tip_at(200), OTHER.id)
    assert heights(late + later(bench, 1_000))[:3] == [1, 2, 3]


def test_bodies_are_asked_for_in_whole_batches_while_the_learner_has_enough_to_do() -> None:
    bench = Bench(judge=None)
    effects = bench.receive(tip_at(200))
    effects = bench.receive(headers(1, 128)) + bench.receive(headers(129, 200))
    asked: list[int] = []
    while requests := sent(effects, GetBlocks):
        asked += [len(request.places) for _, request in requests]
        effects = bench.receive(blocks_for(requests[0][1]))
    assert BODIES_WAITING_MAX - BODIES_PER_REQUEST < sum(asked) <= BODIES_WAITING_MAX
    assert set(asked[1:]) == {BODIES_PER_REQUEST}  # the first follows the first proven header
    singly: list[int] = []
    for forged in CHAIN[:64]:  # the learner checks one after the other
        effects = bench.feed(Checked(forged.id, Verdict.GOOD, is_proven_lie=False, detail=""))
        for _, request in sent(effects, GetBlocks):
            singly.append(len(request.places))
            effects += bench.receive(blocks_for(request))
    assert set(singly) == {BODIES_PER_REQUEST}


def test_the_body_that_the_learner_waits_for_is_asked_of_a_second_peer_soon() -> None:
    bench = Bench()
    bench.receive(tip_at(1))
    assert heights(bench.receive(headers(1, 1))) == [1]
    bench.receive(tip_at(1), OTHER.id)
    hedged = sent(later(bench, HEDGE_MS), GetBlocks)
    assert [(peer, request.places[0].height) for peer, request in hedged] == [(OTHER.id, 1)]


def test_what_found_no_room_in_an_answer_is_asked_of_the_same_peer_at_once() -> None:
    bench = Bench()
    bench.receive(tip_at(40))
    first = sent(bench.receive(headers(1, 40)), GetBlocks)[0][1]
    ((_, second),) = sent(bench.receive(blocks_for(first)), GetBlocks)
    assert len(second.places) == BODIES_PER_REQUEST
    effects = bench.receive(Blocks(blocks_for(second).blocks[:3]))
    assert heights(effects) == list(range(5, 5 + BODIES_PER_REQUEST))


def test_a_peer_is_asked_for_less_than_it_grants() -> None:
    assert REQUESTS_ASKED_BURST < REQUESTS_BURST
    assert REQUESTS_ASKED_PER_SECOND < REQUESTS_PER_SECOND


def test_what_a_peer_owed_is_forgiven_in_time() -> None:
    bench = Bench()
    bench.receive(tip_at(1))
    effects = bench.receive(headers(1, 1))
    asked: list[int] = []
    for second in range(400):
        asked += [second] * len(sent(effects, GetBlocks))
        effects = later(bench, 1_000)
    assert sum(second < 40 for second in asked) == OWED_MAX
    assert sum(second > 200 for second in asked) >= 3
    while not (requests := sent(effects, GetBlocks)):
        effects = later(bench, 1_000)
    bench.receive(blocks_for(requests[0][1]))
    assert bench.machine.status.height == 1


def test_who_asks_for_too_much_is_told_so() -> None:
    bench = Bench()
    request = GetBlocks((Place(1, CHAIN[0].id),))
    answers = [bench.receive(request) for _ in range(REQUESTS_BURST + 1)]
    assert [message for _, message in sent(answers[-1], Busy)] == [Busy(True)]
    request = GetHeaders((Place(0, FORGE.genesis.id),))
    assert [message for _, message in sent(bench.receive(request), Busy)] == [Busy(False)]


def test_what_a_busy_peer_does_not_give_is_asked_of_another_at_once() -> None:
    bench = Bench()
    bench.receive(tip_at(1))
    asked = heights(bench.receive(headers(1, 1)))
    bench.receive(tip_at(1), OTHER.id)
    effects = bench.receive(Busy(True))
    assert [peer for peer, _ in sent(effects, GetBlocks)] == [OTHER.id]
    assert heights(effects) == asked
    assert refusals(effects) == []


def test_late_answers_to_forgiven_requests_are_taken() -> None:
    bench = Bench()
    bench.receive(tip_at(5))
    for _ in range(3):
        later(bench, peers.FORGIVEN_AFTER_MS + ANSWER_TIMEOUT_MS + 70_000)
    assert refusals(bench.receive(headers(1, 5))) == []
    assert refusals(bench.receive(Headers(()))) == []
    assert PEER.id not in {peer for peer, _ in refusals(bench.receive(Headers(())))}
