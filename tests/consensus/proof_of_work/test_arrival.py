"""A newcomer, and everybody after a start: what keeps it from leading and from finalising, and for how long."""

from dataclasses import replace

from consensus.proof_of_work.arrival import ARRIVAL_MS_MIN, LAG_BLOCKS, LEADING_PATIENCE_MS
from consensus.proof_of_work.bodies import STALLED_MS
from consensus.protocol import Checked, Finalise, Verdict
from tests.consensus.proof_of_work.bench import Bench, of_type
from tests.consensus.proof_of_work.forge import RULES, Forge, person
from tests.consensus.proof_of_work.test_unproven import Leading, later, show_headers

FORGE = Forge()
CHAIN = FORGE.branch(FORGE.genesis, person("alice"), 60)


def test_a_chain_with_less_than_the_minimum_of_work_is_neither_finalised_nor_led_on() -> None:
    bench = Bench(replace(RULES, minimum_work=40), is_leading=True)
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
