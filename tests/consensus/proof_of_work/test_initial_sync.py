"""A newcomer, and everybody after a start: what keeps it from leading and from finalising, and for how long."""

from msgspec import structs

from consensus.effects import Finalise
from consensus.proof_of_work.block_download import STALLED_MS
from consensus.proof_of_work.initial_sync import ARRIVAL_MS_MIN, HEADERS_PATIENCE_MS, LAG_BLOCKS, LEADING_PATIENCE_MS
from consensus.proof_of_work.messages import Headers, Tip
from consensus.proof_of_work.packed_headers import WORK_BYTES
from consensus.protocol import Checked, Offered, PeerJoined, PeerLeft
from consensus.steps import Verdict
from tests.consensus.proof_of_work.bench import OTHER, Bench, of_type
from tests.consensus.proof_of_work.forge import RULES, Forge, person, state_after
from tests.consensus.proof_of_work.test_unproven import Leading, later, show_headers, tip_of

FAR = 2**40
FORGE = Forge()
CHAIN = FORGE.branch(FORGE.genesis, person("alice"), 60)


def test_a_chain_with_less_than_the_minimum_of_work_is_neither_finalised_nor_led_on() -> None:
    bench = Bench(structs.replace(RULES, minimum_work=40), is_leading=True)
    later(bench, ARRIVAL_MS_MIN)
    effects = bench.push(*CHAIN[:39])
    leading = Leading(bench)
    leading.pass_time(60_000)
    assert (leading.worked_ms, of_type(effects, Finalise)) == (0, [])
    effects = bench.push(CHAIN[39])
    assert of_type(effects, Finalise) == [Finalise(CHAIN[27].id, CHAIN[27].link.height)]
    leading = Leading(bench)
    assert leading.is_working


def test_nothing_is_final_in_the_first_seconds_and_then_all_that_is_deep_enough() -> None:
    bench = Bench()
    assert of_type(bench.push(*CHAIN[:30]), Finalise) == []
    assert of_type(later(bench, ARRIVAL_MS_MIN - 1), Finalise) == []
    assert of_type(later(bench, 1), Finalise) == [Finalise(CHAIN[17].id, CHAIN[17].link.height)]


def test_nothing_is_led_while_proven_blocks_far_ahead_arrive_one_by_one() -> None:
    bench = Bench(is_leading=True, judge=None)
    later(bench, ARRIVAL_MS_MIN)
    bench.push(*CHAIN)
    leading = Leading(bench)
    for forged in CHAIN[: -LAG_BLOCKS - 1]:
        leading.note(bench.feed(Checked(forged.id, Verdict.GOOD, is_proven_lie=False, detail="")))
        leading.pass_time(9_000)
    assert leading.worked_ms == 0


def test_who_gives_a_body_now_and_then_stops_nobody_for_long() -> None:
    bench = Bench(is_leading=True, judge=None)
    later(bench, ARRIVAL_MS_MIN)
    leading = Leading(bench)
    leading.note(show_headers(bench, CHAIN))
    for forged in CHAIN[:20]:
        leading.pass_time(STALLED_MS - 1_000)
        leading.note(bench.push(forged))
    assert leading.worked_ms >= 20 * (STALLED_MS - 1_000) - LEADING_PATIENCE_MS - 5_000


def offer(bench: Bench, leading: Leading) -> None:
    """What a learner does when the head has moved."""
    head = bench.machine.status.head
    leading.note(bench.feed(Offered(head, (), b"", state_after(head))))


def test_blocks_beside_a_branch_far_ahead_do_not_make_us_wait_for_it() -> None:
    bench = Bench(is_leading=True)
    later(bench, ARRIVAL_MS_MIN)
    leading = Leading(bench)
    leading.note(show_headers(bench, CHAIN))
    for number, forged in enumerate(FORGE.branch(FORGE.genesis, person("bob"), 50)):
        leading.pass_time(2_000)
        leading.note(bench.push(forged, peer=OTHER.id))
        if number % 8 == 7:
            leading.note(bench.push(CHAIN[number // 8]))  # so that it is not stalled
        offer(bench, leading)
    assert bench.machine.status.height == 50
    assert leading.worked_ms >= 100_000 - LEADING_PATIENCE_MS - 10_000


def test_a_lead_that_is_shown_again_and_again_stops_us_for_a_twentieth_of_the_time() -> None:
    bench = Bench(is_leading=True)
    later(bench, ARRIVAL_MS_MIN)
    leading = Leading(bench)
    for end in range(LAG_BLOCKS + 1, len(CHAIN), LAG_BLOCKS + 1):
        lead = CHAIN[end - LAG_BLOCKS - 1 : end]
        leading.note(bench.receive(tip_of(lead[-1])) + bench.receive(Headers(tuple(forged.block.header for forged in lead))))
        leading.pass_time(STALLED_MS - 1_000)
        leading.note(bench.push(*lead))
        offer(bench, leading)
        leading.pass_time(1_000)
    assert bench.machine.status.height == 54
    assert leading.worked_ms >= 6 * STALLED_MS - LEADING_PATIENCE_MS - 7_000


def test_claims_of_keys_that_come_and_go_keep_nobody_from_arriving() -> None:
    bench = Bench()
    effects = bench.push(*CHAIN)
    liars = [person(f"liar {index}").id for index in range(3)]
    for round_number in range(HEADERS_PATIENCE_MS // 4_000 + 1):
        liar = liars[round_number % len(liars)]
        effects += bench.feed(PeerLeft(liar)) + bench.feed(PeerJoined(liar))
        effects += bench.receive(Tip(CHAIN[0].id, FAR, bytes([1] * WORK_BYTES)), liar)
        for _ in range(4):
            effects += later(bench, 1_000)
        if round_number < 100:
            assert of_type(effects, Finalise) == []
    assert len(of_type(effects, Finalise)) == 1
