"""Who is asked for what, and what happens when there is no answer."""

from itertools import pairwise

from consensus.effects import Effect, Offence, Send, SolvePuzzle, StopPuzzle, VerifyPuzzle
from consensus.encoding import encode
from consensus.proof_of_work import responses as serving
from consensus.proof_of_work.block_download import BODIES_PER_REQUEST
from consensus.proof_of_work.header_sync import LIGHT_MS
from consensus.proof_of_work.machine import SYNC_TIMER
from consensus.proof_of_work.messages import (
    HEADERS_MAX,
    Blocks,
    GetBlocks,
    GetHeaders,
    Headers,
    Message,
    Place,
    Tip,
)
from consensus.proof_of_work.peers import ANSWER_TIMEOUT_MS, RESTARTED_MS
from consensus.proof_of_work.responses import TIP_MS
from consensus.protocol import Offered, PeerJoined, PeerLeft, TimerFired
from consensus.types import Instant
from tests.consensus.proof_of_work.bench import OTHER, PEER, Bench, of_type, refusals, sent
from tests.consensus.proof_of_work.forge import Forge, person, state_after

FORGE = Forge()
ALICE = person("alice")
CHAIN = FORGE.branch(FORGE.genesis, ALICE, 200)
GENESIS = Place(0, FORGE.genesis.id)


def tip_at(height: int) -> Tip:
    link = CHAIN[height - 1].link
    return Tip(link.id, height, link.work.to_bytes(40, "big"))


def headers(first: int, last: int) -> Headers:
    return Headers(tuple(forged.block.header for forged in CHAIN[first - 1 : last]))


def blocks_for(request: Message) -> Blocks:
    assert isinstance(request, GetBlocks)
    return Blocks(tuple(CHAIN[place.height - 1].block for place in request.places))


def later(bench: Bench, delay_ms: int) -> tuple[Effect, ...]:
    bench.now = Instant(bench.now + delay_ms)
    return bench.feed(TimerFired(SYNC_TIMER))


def test_a_peer_with_more_work_is_asked_for_headers_and_nobody_else_meanwhile() -> None:
    bench = Bench()
    assert sent(bench.receive(tip_at(200)), GetHeaders) == [(PEER.id, GetHeaders((GENESIS,)))]
    assert sent(bench.receive(tip_at(200), OTHER.id), GetHeaders) == []


def test_a_peer_with_no_more_work_is_not_asked() -> None:
    bench = Bench()
    bench.push(*CHAIN[:5])
    assert bench.receive(tip_at(5)) == ()


def test_bodies_are_asked_of_all_peers_that_have_them() -> None:
    bench = Bench()
    bench.receive(tip_at(200))
    bench.receive(tip_at(200), OTHER.id)
    effects = bench.receive(headers(1, 40))
    asked = {peer: [place.height for place in request.places] for peer, request in sent(effects, GetBlocks)}
    assert set(asked) == {PEER.id, OTHER.id}
    heights = asked[PEER.id] + asked[OTHER.id]
    assert len(heights) == len(set(heights))
    assert max(len(part) for part in asked.values()) <= BODIES_PER_REQUEST


def test_a_full_answer_is_followed_by_the_next_request() -> None:
    bench = Bench()
    bench.receive(tip_at(200))
    effects = bench.receive(headers(1, HEADERS_MAX))
    ((peer, request),) = sent(effects, GetHeaders)
    assert (peer, request.locator[0]) == (PEER.id, Place(HEADERS_MAX, CHAIN[HEADERS_MAX - 1].id))


def test_a_peer_that_does_not_answer_loses_its_turn() -> None:
    bench = Bench()
    bench.receive(tip_at(200))
    bench.receive(tip_at(200), OTHER.id)
    assert sent(later(bench, ANSWER_TIMEOUT_MS - 1), GetHeaders) == []
    assert [peer for peer, _ in sent(later(bench, 1), GetHeaders)] == [OTHER.id]


def test_a_late_answer_is_still_taken() -> None:
    bench = Bench()
    bench.receive(tip_at(40))
    later(bench, ANSWER_TIMEOUT_MS + 1)
    effects = bench.receive(headers(1, 40))
    assert refusals(effects) == []
    assert len(sent(effects, GetBlocks)) == 1


def test_a_body_that_does_not_come_is_asked_of_another_peer() -> None:
    bench = Bench()
    bench.receive(tip_at(1))
    ((_, first),) = sent(bench.receive(headers(1, 1)), GetBlocks)
    assert sent(bench.receive(tip_at(1), OTHER.id), GetBlocks) == []
    ((peer, second),) = sent(later(bench, ANSWER_TIMEOUT_MS), GetBlocks)
    assert (peer, second) == (OTHER.id, first)
    bench.receive(blocks_for(second), OTHER.id)
    assert bench.machine.status.height == 1
    assert refusals(bench.receive(blocks_for(first))) == []


def test_a_peer_that_answers_with_nothing_is_asked_less_and_less_often() -> None:
    bench = Bench()
    asked_at = []
    for second in range(200):
        bench.receive(tip_at(200))
        effects = later(bench, 1_000)
        if sent(effects, GetHeaders):
            asked_at.append(second)
            bench.receive(Headers(()))
    waits = [after - before for before, after in pairwise(asked_at)]
    assert waits == sorted(waits)
    assert waits[-1] > 30


def test_an_empty_answer_takes_the_claim_back() -> None:
    bench = Bench()
    bench.receive(tip_at(200))
    bench.receive(Headers(()))
    later(bench, 600_000)
    assert sent(later(bench, 600_000), GetHeaders) == []


def test_the_whole_chain_comes_in() -> None:
    bench = Bench()
    effects = bench.receive(tip_at(200))
    for _ in range(40):
        more: tuple[Effect, ...] = later(bench, 1_000)
        for peer, request in sent(effects, GetHeaders):
            assert peer == PEER.id
            known = max(place.height for place in request.locator)
            more += bench.receive(headers(known + 1, min(200, known + HEADERS_MAX)))
        for _, request in sent(effects, GetBlocks):
            more += bench.receive(blocks_for(request))
        effects = more
    assert bench.machine.status.height == 200


def test_a_claim_without_headers_stops_nobody_from_leading_for_long() -> None:
    bench = Bench(is_leading=True, judge=None)
    bench.receive(tip_at(200))
    offer = Offered(FORGE.genesis.id, (), b"", state_after(FORGE.genesis.id))
    assert of_type(bench.feed(offer), SolvePuzzle) == []
    solving = [effect for _ in range(12) for effect in of_type(later(bench, 1_000), SolvePuzzle)]
    assert len(solving) >= 1
    bench.receive(tip_at(200), OTHER.id)
    assert of_type(later(bench, 1_000), StopPuzzle) == []


# --- serving --------------------------------------------------------------------------------------------------------


def served(count: int = 200) -> Bench:
    bench = Bench()
    for forged in CHAIN[:count]:
        bench.now = Instant(bench.now + 10)
        bench.push(forged)
    assert bench.machine.status.height == count
    return bench


def test_headers_are_served_after_the_first_known_place() -> None:
    bench = served()
    places = (Place(150, b"x" * 32), Place(100, CHAIN[99].id), Place(50, CHAIN[49].id), GENESIS)
    assert sent(bench.receive(GetHeaders(places)), Headers) == [(PEER.id, headers(101, 200))]
    assert sent(bench.receive(GetHeaders((GENESIS,))), Headers) == [(PEER.id, headers(1, HEADERS_MAX))]
    assert sent(bench.receive(GetHeaders((Place(200, CHAIN[199].id),))), Headers) == [(PEER.id, Headers(()))]


def test_blocks_are_served_from_the_archive_those_that_we_have() -> None:
    bench = served()
    wanted = GetBlocks((Place(3, CHAIN[2].id), Place(4, b"x" * 32), Place(200, CHAIN[199].id)))
    assert sent(bench.receive(wanted), Blocks) == [(PEER.id, Blocks((CHAIN[2].block, CHAIN[199].block)))]


def test_an_answer_with_blocks_is_bounded_in_bytes(monkeypatch) -> None:
    bench = served(4)
    monkeypatch.setattr(serving, "BLOCKS_BYTES_MAX", 2 * len(encode(CHAIN[0].block)))
    wanted = GetBlocks(tuple(Place(height, CHAIN[height - 1].id) for height in range(1, 5)))
    assert sent(bench.receive(wanted), Blocks) == [(PEER.id, Blocks((CHAIN[0].block, CHAIN[1].block)))]


def test_a_locator_reaches_genesis_in_doubling_steps() -> None:
    bench = served()
    forged = FORGE.child(FORGE.branch(CHAIN[-1].link, ALICE, 1)[-1].link, ALICE)
    ((_, request),) = sent(bench.push(forged), GetHeaders)
    heights = [place.height for place in request.locator]
    assert heights == [200, 199, 198, 197, 196, 195, 194, 193, 192, 191, 189, 185, 177, 161, 129, 65, 0]


def test_peers_are_told_of_a_new_head_every_few_seconds() -> None:
    bench = Bench()
    bench.push(CHAIN[0])
    tips = sent(later(bench, TIP_MS), Tip)
    assert tips == [(PEER.id, tip_at(1)), (OTHER.id, tip_at(1))]
    assert sent(later(bench, TIP_MS), Tip) == []


def test_a_peer_that_joins_is_told_our_tip() -> None:
    bench = Bench()
    bench.push(CHAIN[0])
    assert bench.feed(PeerJoined(ALICE.id)) == (Send(ALICE.id, encode(tip_at(1))),)


def test_a_peer_that_keeps_its_promise_is_asked_again_at_once() -> None:
    bench = Bench()
    bench.receive(tip_at(5))
    bench.receive(headers(1, 5))
    bench.receive(tip_at(40), OTHER.id)
    bench.receive(Headers(()), OTHER.id)
    bench.receive(tip_at(40), OTHER.id)
    assert [peer for peer, _ in sent(bench.receive(tip_at(40)), GetHeaders)] == [PEER.id]


def test_a_peer_that_shows_a_branch_far_behind_our_head_is_asked_again_a_while_later() -> None:
    bench = Bench()
    bench.push(*CHAIN[:11], peer=OTHER.id)
    (light,) = FORGE.branch(FORGE.genesis, person("mallory"), 1)
    bench.receive(tip_at(200))
    assert of_type(bench.receive(Headers((light.block.header,))), VerifyPuzzle) == []
    assert sent(bench.receive(tip_at(200)), GetHeaders) == []
    bench.now = Instant(bench.now + LIGHT_MS)
    assert [peer for peer, _ in sent(bench.receive(tip_at(200)), GetHeaders)] == [PEER.id]


def test_an_answer_to_a_question_of_an_earlier_connection_is_no_lie_and_a_second_one_is() -> None:
    bench = Bench()
    assert sent(bench.receive(tip_at(20)), GetHeaders)
    bench.feed(PeerLeft(PEER.id))
    bench.feed(PeerJoined(PEER.id))
    assert refusals(bench.receive(headers(1, 20))) == []
    assert refusals(bench.receive(headers(1, 20))) == [(PEER.id, Offence.UNSOLICITED)]


def test_an_answer_to_a_question_of_an_earlier_life_is_no_lie_and_later_on_it_is() -> None:
    before = Bench()
    before.push(*CHAIN[:3])
    again = Bench(records=before.records)
    assert refusals(again.receive(headers(4, 20))) == []
    assert refusals(again.receive(Blocks((CHAIN[3].block,)), OTHER.id)) == []
    again.now = Instant(again.now + RESTARTED_MS)
    for peer in (PEER.id, OTHER.id):
        again.feed(PeerLeft(peer))
        again.feed(PeerJoined(peer))
    assert refusals(again.receive(headers(4, 20))) == [(PEER.id, Offence.UNSOLICITED)]
    assert refusals(again.receive(Blocks((CHAIN[3].block,)), OTHER.id)) == [(OTHER.id, Offence.UNSOLICITED)]


def test_fresh_keys_that_claim_more_work_keep_nobody_from_its_turn_to_be_asked_for_headers() -> None:
    """Two a second, of two subnets, each silent; the honest peer has once been asked for what had come meanwhile."""
    bench = Bench()
    honest = person("of a quiet net")
    bench.feed(PeerJoined(honest.id, b"quiet net"))
    bench.receive(tip_at(2), honest.id)
    bench.push(*CHAIN[:2])
    bench.receive(headers(1, 2), honest.id)
    asked: list[int] = []
    for number in range(120):
        key = person(f"fresh {number}")
        bench.feed(PeerJoined(key.id, b"net %d" % (number % 2)))
        effects = bench.receive(tip_at(200), key.id)
        effects += bench.receive(tip_at(40), honest.id)
        effects += later(bench, 500)
        asked += [number for peer, _ in sent(effects, GetHeaders) if peer == honest.id]
    assert asked
    assert asked[0] <= 3 * ANSWER_TIMEOUT_MS // 500
