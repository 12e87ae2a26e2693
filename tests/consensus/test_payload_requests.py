"""Whom to ask for which payload, and when: the table on its own."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.effects import FetchAttachment
from consensus.payload_requests import (
    COOLING_MS,
    FETCHES_MAX,
    FETCHES_PER_PEER_MAX,
    FREE_SHARE,
    REST_MS,
    STALLED_ATTEMPTS,
    Need,
    PayloadRequests,
)
from consensus.proof_of_work.peers import Peers
from consensus.proof_of_work.rules import CONTRIBUTIONS_MAX
from consensus.reliability import GIFTS_KEPT, LATE_MS, LATE_MS_MAX, LATE_SHARE, SUSPECT_MS
from consensus.steps import Attachment
from consensus.types import Digest, Instant, PeerId

ALICE, BOB, CAROL = (PeerId(bytes([number]) * 32) for number in (1, 2, 3))


def digest(number: int) -> Digest:
    return Digest(number.to_bytes(32, "big"))


def payload(number: int, length: int = 1_000) -> Attachment:
    return Attachment(digest(number), length)


def waiter(number: int) -> bytes:
    return digest(1_000_000 + number)


def table(*connected: PeerId, fetches_max: int = FETCHES_MAX) -> tuple[PayloadRequests, Peers]:
    peers = Peers()
    for peer in connected:
        peers.join(peer, Instant(0))
    return PayloadRequests(peers, fetches_max, FREE_SHARE), peers


def asked(effects: tuple[FetchAttachment, ...]) -> list[tuple[int, PeerId]]:
    return [(int.from_bytes(fetch.digest, "big"), fetch.peer) for fetch in effects]


def test_a_payload_is_asked_of_who_brought_what_names_it_and_ends_the_wait() -> None:
    payloads, _ = table(ALICE, BOB)
    payloads.wait(waiter(1), (payload(7, length=55),), BOB, Need.BLOCK)
    assert payloads.fetch_more(Instant(0)) == (FetchAttachment(digest(7), 55, BOB),)
    assert (payloads.is_lacking(waiter(1)), len(payloads)) == (True, 1)
    assert payloads.note_held(digest(7)) == (waiter(1),)
    assert (payloads.is_lacking(waiter(1)), len(payloads)) == (False, 0)
    assert payloads.fetch_more(Instant(60_000)) == ()


@pytest.mark.parametrize(("places", "of_one"), [(FETCHES_MAX, FETCHES_PER_PEER_MAX), (16, 2), (3, 1), (1, 1)])
def test_no_more_is_asked_for_than_the_shell_has_places(places: int, of_one: int) -> None:
    names = [PeerId(bytes([number]) * 32) for number in range(1, 101)]
    payloads, _ = table(*names, fetches_max=places)
    for number in range(FETCHES_MAX):
        payloads.wait(waiter(number), (payload(number),), names[0], Need.BLOCK)
    fetches = asked(payloads.fetch_more(Instant(0)))
    assert len(fetches) == places
    assert Counter(peer for _, peer in fetches)[names[0]] == of_one


def test_who_lacks_two_payloads_waits_for_both_and_all_who_wait_for_one_are_told() -> None:
    payloads, _ = table(ALICE)
    payloads.wait(waiter(1), (payload(7), payload(8)), ALICE, Need.FREE)
    payloads.wait(waiter(2), (payload(8), payload(8)), ALICE, Need.BLOCK)
    assert len(payloads.fetch_more(Instant(0))) == 2
    assert payloads.note_held(digest(8)) == (waiter(2),)
    assert payloads.note_held(digest(7)) == (waiter(1),)


def fail_all(payloads: PayloadRequests, fetches: list[tuple[int, PeerId]], now: int) -> None:
    for number, peer in fetches:
        payloads.on_failure(digest(number), peer, Instant(now))


def test_where_it_fails_all_peers_are_asked_in_turn_and_after_a_rest_all_over_again() -> None:
    payloads, _ = table(ALICE, BOB, CAROL)
    payloads.wait(waiter(1), (payload(7),), BOB, Need.FREE)
    payloads.add_source(waiter(1), CAROL)
    for peer in (BOB, CAROL, ALICE):
        assert asked(payloads.fetch_more(Instant(0))) == [(7, peer)]
        assert payloads.fetch_more(Instant(0)) == ()
        payloads.on_failure(digest(7), peer, Instant(0))
    assert payloads.fetch_more(Instant(REST_MS - 1)) == ()
    assert asked(payloads.fetch_more(Instant(REST_MS))) == [(7, BOB)]


def test_only_the_failure_of_who_was_asked_last_counts() -> None:
    payloads, _ = table(ALICE, BOB)
    payloads.wait(waiter(1), (payload(7),), ALICE, Need.BLOCK)
    payloads.fetch_more(Instant(0))
    payloads.on_failure(digest(7), BOB, Instant(1))
    payloads.on_failure(digest(8), ALICE, Instant(1))
    assert payloads.fetch_more(Instant(1)) == ()


def test_a_peer_that_has_nothing_is_not_asked_faster_than_its_places_cool() -> None:
    payloads, _ = table(ALICE)
    for number in range(100):
        payloads.wait(waiter(number), (payload(number),), ALICE, Need.BLOCK)
    first = asked(payloads.fetch_more(Instant(0)))
    fail_all(payloads, first, 0)
    assert (len(first), payloads.fetch_more(Instant(COOLING_MS - 1))) == (FETCHES_PER_PEER_MAX, ())
    assert len(payloads.fetch_more(Instant(COOLING_MS))) == FETCHES_PER_PEER_MAX


def lied_to() -> PayloadRequests:
    """By ALICE, who names payloads and does not give them."""
    payloads, _ = table(ALICE, BOB, CAROL)
    payloads.wait(digest(7), (payload(7),), None, Need.FREE)
    payloads.add_holders(digest(7), (ALICE,))
    assert asked(payloads.fetch_more(Instant(0))) == [(7, ALICE)]
    payloads.on_failure(digest(7), ALICE, Instant(0))
    payloads.drop(digest(7))
    payloads.fetch_more(Instant(COOLING_MS))
    return payloads


def named_by_alice(payloads: PayloadRequests, *numbers: int) -> None:
    for number in numbers:
        payloads.wait(digest(number), (payload(number),), None, Need.FREE)
        payloads.add_holders(digest(number), (ALICE,))


def test_whoever_has_accepted_it_is_asked_in_place_of_one_that_has_failed_as_a_holder_before() -> None:
    payloads = lied_to()
    named_by_alice(payloads, 8)
    assert asked(payloads.fetch_more(Instant(1_000))) == [(8, ALICE)], "nobody else is known to have it"
    payloads.add_holders(digest(8), (ALICE,))
    assert payloads.fetch_more(Instant(1_000)) == ()
    payloads.add_holders(digest(8), (CAROL,))
    assert asked(payloads.fetch_more(Instant(1_000))) == [(8, CAROL)]
    payloads.on_failure(digest(8), ALICE, Instant(1_001))
    assert payloads.fetch_more(Instant(1_001)) == (), "only the failure of who was asked last counts"


def test_who_had_nothing_when_it_was_asked_is_asked_again_once_it_has_accepted_it() -> None:
    """And not only when the last one has been asked, too: that one takes as long as it can."""
    payloads, _ = table(ALICE, BOB, CAROL)
    payloads.wait(waiter(1), (payload(7),), ALICE, Need.FREE)
    for peer in (ALICE, BOB):
        assert asked(payloads.fetch_more(Instant(0))) == [(7, peer)]
        payloads.on_failure(digest(7), peer, Instant(0))
    assert asked(payloads.fetch_more(Instant(0))) == [(7, CAROL)]
    payloads.add_holders(digest(7), (BOB,))
    assert asked(payloads.fetch_more(Instant(LATE_MS + 1))) == [(7, BOB)]


def test_who_had_nothing_does_not_wait_for_a_busy_one_that_nobody_has_asked() -> None:
    """All places of Carol are taken by what she alone is said to have, and she takes her time."""
    payloads, _ = table(ALICE, BOB, CAROL)
    for number in range(20, 20 + FETCHES_PER_PEER_MAX + 2):
        payloads.wait(waiter(number), (payload(number),), CAROL, Need.FREE)
    payloads.wait(waiter(1), (payload(7),), ALICE, Need.FREE)
    first = payloads.fetch_more(Instant(0))
    assert (7, ALICE) in asked(first)
    for peer in (ALICE, BOB):
        payloads.on_failure(digest(7), peer, Instant(0))
        assert asked(payloads.fetch_more(Instant(0))) == ([(7, BOB)] if peer == ALICE else [])
    payloads.add_holders(digest(7), (BOB,))
    assert asked(payloads.fetch_more(Instant(1))) == [(7, BOB)]


def test_what_was_asked_for_in_vain_waits_for_no_busy_one_while_others_are_free() -> None:
    """Carol is said to have it, and all her places are taken; Bob has it, and nobody says so."""
    payloads, _ = table(ALICE, BOB, CAROL)
    for number in range(20, 20 + FETCHES_PER_PEER_MAX + 2):
        payloads.wait(waiter(number), (payload(number),), CAROL, Need.FREE)
    payloads.wait(waiter(1), (payload(7),), ALICE, Need.FREE)
    assert (7, ALICE) in asked(payloads.fetch_more(Instant(0)))
    payloads.add_source(waiter(1), CAROL)
    payloads.on_failure(digest(7), ALICE, Instant(0))
    assert asked(payloads.fetch_more(Instant(0))) == [(7, BOB)]


def test_a_holder_that_has_not_failed_is_not_replaced() -> None:
    payloads, _ = table(ALICE, BOB)
    named_by_alice(payloads, 7)
    payloads.fetch_more(Instant(0))
    payloads.add_holders(digest(7), (BOB,))
    assert payloads.fetch_more(Instant(0)) == ()
    payloads.on_failure(digest(7), ALICE, Instant(0))
    assert asked(payloads.fetch_more(Instant(0))) == [(7, BOB)]


def test_a_holder_has_half_as_many_places_with_each_failure_until_it_is_forgiven() -> None:
    payloads = lied_to()
    now = 1_000
    for places in (4, 2, 1, 1):
        named_by_alice(payloads, *range(10, 30))
        asked_now = asked(payloads.fetch_more(Instant(now)))
        assert asked_now == [(number, ALICE) for number in range(10, 10 + places)]
        payloads.on_failure(digest(10), ALICE, Instant(now))
        for number in range(10, 30):
            payloads.drop(digest(number))
        payloads.fetch_more(Instant(now + COOLING_MS))
        now += 1_000
    payloads.wait(waiter(1), (payload(99),), BOB, Need.FREE)  # while something is wanted, time is looked at
    assert asked(payloads.fetch_more(Instant(now))) == [(99, BOB)]
    named_by_alice(payloads, *range(10, 30))
    assert len(payloads.fetch_more(Instant(now + SUSPECT_MS))) == FETCHES_PER_PEER_MAX


def test_of_two_holders_that_have_failed_the_one_that_did_less_often_is_asked() -> None:
    payloads = lied_to()
    for number, holder in ((20, ALICE), (21, BOB)):
        payloads.wait(digest(number), (payload(number),), None, Need.FREE)
        payloads.add_holders(digest(number), (holder,))
        assert asked(payloads.fetch_more(Instant(1_000))) == [(number, holder)]
        payloads.on_failure(digest(number), holder, Instant(1_000))
        payloads.drop(digest(number))
    named_by_alice(payloads, 30)
    assert asked(payloads.fetch_more(Instant(2_000))) == [(30, ALICE)]
    payloads.add_holders(digest(30), (BOB,))
    assert asked(payloads.fetch_more(Instant(2_000))) == [(30, BOB)]


@pytest.mark.parametrize(("length", "late_ms"), [(1_000, LATE_MS + 1), (2**30, LATE_MS_MAX)])
def test_who_is_late_while_another_holder_is_known_is_replaced_and_asked_last_from_then_on(length: int, late_ms: int) -> None:
    payloads, _ = table(ALICE, BOB)
    payloads.wait(digest(7), (payload(7, length),), None, Need.FREE)
    payloads.add_holders(digest(7), (ALICE,))
    assert asked(payloads.fetch_more(Instant(0))) == [(7, ALICE)]
    assert payloads.fetch_more(Instant(late_ms - 1)) == ()
    payloads.add_holders(digest(7), (BOB,))
    assert payloads.fetch_more(Instant(late_ms - 1)) == ()
    assert asked(payloads.fetch_more(Instant(late_ms))) == [(7, BOB)]
    payloads.note_held(digest(7))
    named_by_alice(payloads, 8)
    payloads.add_holders(digest(8), (BOB,))
    assert asked(payloads.fetch_more(Instant(late_ms))) == [(8, BOB)]


def test_what_several_hold_waits_for_no_busy_one_though_that_has_failed_least() -> None:
    """Bob could not be reached for a while; Carol holds back what she alone has, and all her places are taken."""
    payloads, _ = table(ALICE, BOB, CAROL)
    for number in range(3):
        payloads.wait(waiter(number), (payload(number),), BOB, Need.FREE)
        payloads.add_holders(digest(number), (BOB,))
        fail_all(payloads, asked(payloads.fetch_more(Instant(10_000 * number))), 10_000 * number + 5_000)
        payloads.drop(waiter(number))
    for number in range(20, 20 + FETCHES_PER_PEER_MAX + 2):
        payloads.wait(waiter(number), (payload(number),), CAROL, Need.FREE)
        payloads.add_holders(digest(number), (CAROL,))
    now = Instant(40_000)
    assert {peer for _, peer in asked(payloads.fetch_more(now))} == {CAROL}
    payloads.wait(waiter(7), (payload(7),), CAROL, Need.FREE)
    payloads.add_holders(digest(7), (CAROL, BOB))
    assert asked(payloads.fetch_more(now)) == [(7, BOB)]


def test_who_has_failed_while_it_was_away_is_as_good_as_before_once_it_has_given_some() -> None:
    payloads, _ = table(ALICE, BOB)
    for number in range(4):
        named_by_alice(payloads, number)
        payloads.add_holders(digest(number), (ALICE,))
        fail_all(payloads, asked(payloads.fetch_more(Instant(10_000 * number))), 10_000 * number + 5_000)
        payloads.drop(waiter(number))
    at_once = []
    for number in range(20, 24):
        for other in range(100 * number, 100 * number + FETCHES_PER_PEER_MAX):
            payloads.wait(waiter(other), (payload(other),), ALICE, Need.FREE)
            payloads.add_holders(digest(other), (ALICE,))
        fetches = asked(payloads.fetch_more(Instant(40_000)))
        at_once.append(len(fetches))
        payloads.note_held(digest(fetches[0][0]))
        for other in range(100 * number, 100 * number + FETCHES_PER_PEER_MAX):
            payloads.drop(waiter(other))
    assert at_once[0] < at_once[-1] == FETCHES_PER_PEER_MAX


def test_who_is_far_from_all_waits_for_longer_and_one_that_takes_its_time_does_not_make_it_wait() -> None:
    """What counts is how long a fourth of the gifts took at most."""
    payloads, _ = table(ALICE, BOB)

    def fetch(number: int, at: int, took_ms: int) -> None:
        payloads.wait(waiter(number), (payload(number),), ALICE, Need.BLOCK)
        payloads.add_holders(digest(number), (ALICE, BOB))
        payloads.fetch_more(Instant(at))
        payloads.note_held(digest(number))
        payloads.fetch_more(Instant(at + took_ms))

    def late_ms(number: int, at: int) -> int:
        payloads.wait(waiter(number), (payload(number),), ALICE, Need.BLOCK)
        payloads.add_holders(digest(number), (ALICE, BOB))
        (_, first), *_ = asked(payloads.fetch_more(Instant(at)))
        late = next(
            ms
            for ms in range(0, 3_000, 10)
            if [peer for _, peer in asked(payloads.fetch_more(Instant(at + ms)))] not in ([], [first])
        )
        payloads.note_held(digest(number))
        payloads.fetch_more(Instant(at + late))
        return late

    for number in range(GIFTS_KEPT):
        fetch(number, 10_000 * number, took_ms=450)
    assert late_ms(100, 1_000_000) == pytest.approx(LATE_SHARE * 450, abs=10)
    for number in range(200, 200 + GIFTS_KEPT):
        fetch(number, 10_000 * number, took_ms=4_900 if number % 4 else 60)
    assert late_ms(300, 5_000_000) == pytest.approx(LATE_MS, abs=10)


def test_who_is_late_goes_on_where_no_other_holder_is_known() -> None:
    payloads, _ = table(ALICE, BOB)
    named_by_alice(payloads, 7)
    assert asked(payloads.fetch_more(Instant(0))) == [(7, ALICE)]
    assert payloads.fetch_more(Instant(60_000)) == ()
    payloads.on_failure(digest(7), ALICE, Instant(60_000))
    assert asked(payloads.fetch_more(Instant(60_000))) == [(7, BOB)], "it has had one turn, and nothing was held against it"


def test_who_is_late_comes_before_who_has_failed() -> None:
    payloads = lied_to()
    for number in range(10, 14):
        payloads.wait(digest(number), (payload(number),), None, Need.FREE)
        payloads.add_holders(digest(number), (BOB, CAROL))
        payloads.fetch_more(Instant(1_000 * number))
        payloads.fetch_more(Instant(1_000 * number + LATE_MS + 1))
        payloads.note_held(digest(number))
    named_by_alice(payloads, 30)
    payloads.add_holders(digest(30), (BOB,))
    assert asked(payloads.fetch_more(Instant(20_000))) == [(30, BOB)]


def test_who_only_brought_what_names_it_is_no_suspect_for_not_having_it() -> None:
    payloads, _ = table(ALICE)
    named_by_alice(payloads, 7)
    payloads.wait(waiter(1), (payload(8),), ALICE, Need.FREE)
    fail_all(payloads, [fetch for fetch in asked(payloads.fetch_more(Instant(0))) if fetch[0] == 8], 0)
    named_by_alice(payloads, *range(10, 30))
    assert len(payloads.fetch_more(Instant(COOLING_MS))) == FETCHES_PER_PEER_MAX - 1


def test_who_takes_long_to_give_nothing_fills_few_places_and_leaves_the_others_to_who_answers() -> None:
    """Sixteen keep silent whatever they are asked for; a block of theirs names 64 payloads that nobody gets."""
    silent = [PeerId(bytes([number]) * 32) for number in range(100, 116)]
    payloads, _ = table(*silent, ALICE)
    payloads.wait(waiter(1), [payload(number) for number in range(CONTRIBUTIONS_MAX)], silent[0], Need.BLOCK)
    now = 0
    for _ in range(8):
        under_way = asked(payloads.fetch_more(Instant(now)))
        fail_all(payloads, [one for one in under_way if one[1] == ALICE], now)
        now += 5_000
        fail_all(payloads, [one for one in under_way if one[1] != ALICE], now)
        now += COOLING_MS
    under_way = asked(payloads.fetch_more(Instant(now)))
    fail_all(payloads, [one for one in under_way if one[1] == ALICE], now)
    honest = [payload(1_000 + number) for number in range(FETCHES_PER_PEER_MAX)]
    payloads.wait(waiter(2), honest, ALICE, Need.BLOCK)
    later = asked(payloads.fetch_more(Instant(now + COOLING_MS)))
    assert [number for number, peer in later if peer == ALICE] == list(range(1_000, 1_000 + len(honest)))


def test_who_says_at_once_that_it_has_nothing_keeps_its_places() -> None:
    payloads, _ = table(ALICE)
    for number in range(5):
        payloads.wait(waiter(number), (payload(number),), ALICE, Need.BLOCK)
        fail_all(payloads, asked(payloads.fetch_more(Instant(10_000 * number))), 10_000 * number + LATE_MS_MAX - 1)
        payloads.drop(waiter(number))
    payloads.wait(waiter(9), [payload(100 + number) for number in range(20)], ALICE, Need.BLOCK)
    assert len(payloads.fetch_more(Instant(60_000))) == FETCHES_PER_PEER_MAX


def test_what_the_learner_needs_comes_first() -> None:
    payloads, peers = table()
    payloads.wait(waiter(1), (payload(1),), ALICE, Need.FREE)
    payloads.wait(waiter(2), (payload(2),), ALICE, Need.BLOCK)
    payloads.wait(waiter(3), (payload(1), payload(3)), None, Need.LEARNER)
    peers.join(ALICE, Instant(0))
    assert [number for number, _ in asked(payloads.fetch_more(Instant(0)))] == [1, 3, 2]


def test_when_the_asked_peer_leaves_another_is_asked_at_once() -> None:
    payloads, peers = table(ALICE, BOB)
    payloads.wait(waiter(1), (payload(7),), BOB, Need.FREE)
    payloads.fetch_more(Instant(0))
    peers.leave(BOB)
    assert asked(payloads.fetch_more(Instant(1))) == [(7, ALICE)]


def test_with_nobody_connected_nothing_is_asked_until_somebody_joins() -> None:
    payloads, peers = table()
    payloads.wait(waiter(1), (payload(7),), BOB, Need.BLOCK)
    assert payloads.fetch_more(Instant(0)) == ()
    peers.join(ALICE, Instant(1))
    assert asked(payloads.fetch_more(Instant(1))) == [(7, ALICE)]


def test_what_nobody_waits_for_any_more_is_not_asked_for() -> None:
    payloads, _ = table(ALICE)
    payloads.wait(waiter(1), (payload(7), payload(8)), ALICE, Need.FREE)
    payloads.wait(waiter(2), (payload(8),), ALICE, Need.BLOCK)
    payloads.drop(waiter(1))
    assert asked(payloads.fetch_more(Instant(0))) == [(8, ALICE)]
    assert payloads.note_held(digest(8)) == (waiter(2),)


def test_fetches_are_bounded_for_one_peer_and_in_all() -> None:
    peers = [PeerId(bytes([number]) * 32) for number in range(10)]
    payloads, _ = table(*peers)
    for number in range(100):
        payloads.wait(waiter(number), (payload(number),), peers[0], Need.BLOCK)
    fetches = payloads.fetch_more(Instant(0))
    counts = Counter(fetch.peer for fetch in fetches)
    assert (len(fetches), counts[peers[0]], max(counts.values())) == (FETCHES_MAX, FETCHES_PER_PEER_MAX, FETCHES_PER_PEER_MAX)
    assert payloads.fetch_more(Instant(1)) == ()
    payloads.note_held(digest(0))
    assert len(payloads.fetch_more(Instant(2))) == 1


def test_a_flood_of_contributions_keeps_its_source_busy_and_nobody_else() -> None:
    payloads, _ = table(ALICE, BOB)
    for number in range(50):
        payloads.wait(waiter(number), (payload(number),), ALICE, Need.FREE)
    payloads.wait(waiter(99), (payload(99),), BOB, Need.FREE)
    fetches = asked(payloads.fetch_more(Instant(0)))
    assert Counter(peer for _, peer in fetches) == {ALICE: FETCHES_PER_PEER_MAX, BOB: 1}
    assert (99, BOB) in fetches


def test_half_of_the_fetches_are_left_to_blocks() -> None:
    peers = [PeerId(bytes([number]) * 32) for number in range(10)]
    payloads, _ = table(*peers)
    for number in range(60):
        payloads.wait(waiter(number), (payload(number),), peers[number % 10], Need.FREE)
    assert len(payloads.fetch_more(Instant(0))) == FETCHES_MAX // FREE_SHARE
    for number in range(100, 160):
        payloads.wait(waiter(number), (payload(number),), peers[number % 10], Need.BLOCK)
    assert [number >= 100 for number, _ in asked(payloads.fetch_more(Instant(0)))] == [True] * (FETCHES_MAX // FREE_SHARE)


def test_what_a_block_waits_for_comes_before_what_a_contribution_alone_waits_for() -> None:
    payloads, peers = table()
    payloads.wait(waiter(1), (payload(1),), ALICE, Need.FREE)
    payloads.wait(waiter(2), (payload(2),), ALICE, Need.FREE)
    payloads.wait(waiter(3), (payload(3), payload(2)), ALICE, Need.BLOCK)
    peers.join(ALICE, Instant(0))
    assert [number for number, _ in asked(payloads.fetch_more(Instant(0)))] == [3, 2, 1]


def test_what_was_asked_for_in_vain_lets_the_others_go_first() -> None:
    payloads, _ = table(ALICE)
    for number in range(FETCHES_PER_PEER_MAX):
        payloads.wait(waiter(number), (payload(number),), ALICE, Need.BLOCK)
    fail_all(payloads, asked(payloads.fetch_more(Instant(0))), 0)
    payloads.wait(waiter(99), (payload(99),), ALICE, Need.FREE)
    second = asked(payloads.fetch_more(Instant(REST_MS)))
    assert (second[0], len(second)) == ((99, ALICE), FETCHES_PER_PEER_MAX)


def test_after_some_attempts_in_vain_what_waits_is_stalled_until_something_comes() -> None:
    payloads, _ = table(ALICE, BOB)
    payloads.wait(waiter(1), (payload(7), payload(8)), ALICE, Need.BLOCK)
    stalled = []
    for number in range(STALLED_ATTEMPTS + 1):
        fetches = asked(payloads.fetch_more(Instant(REST_MS * number)))
        stalled.append(payloads.is_stalled(waiter(1)))
        fail_all(payloads, fetches, REST_MS * number)
    assert stalled == [False] * STALLED_ATTEMPTS + [True]
    payloads.wait(waiter(2), (payload(7),), BOB, Need.BLOCK)
    assert payloads.is_stalled(waiter(2))
    payloads.note_held(digest(7))
    assert [payloads.is_stalled(waiter(number)) for number in (1, 2)] == [False, False]


def test_the_greatest_length_that_is_named_counts() -> None:
    payloads, _ = table(ALICE)
    payloads.wait(waiter(1), (payload(7, length=1),), ALICE, Need.FREE)
    payloads.wait(waiter(2), (payload(7, length=900),), ALICE, Need.BLOCK)
    assert payloads.fetch_more(Instant(0)) == (FetchAttachment(digest(7), 900, ALICE),)


numbers = st.integers(min_value=0, max_value=11)
actions = st.one_of(
    st.tuples(
        st.just("wait"), numbers, st.lists(numbers, min_size=1, max_size=3), st.sampled_from([ALICE, BOB]), st.booleans()
    ),
    st.tuples(st.just("drop"), numbers),
    st.tuples(st.just("held"), numbers),
    st.tuples(st.just("also"), numbers, st.sampled_from([BOB, CAROL])),
    st.tuples(st.just("join"), st.sampled_from([ALICE, BOB, CAROL])),
    st.tuples(st.just("leave"), st.sampled_from([ALICE, BOB, CAROL])),
    st.tuples(st.just("time"), st.sampled_from([1, COOLING_MS, REST_MS])),
    st.tuples(st.just("fail"), numbers, st.sampled_from([ALICE, BOB, CAROL])),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(actions, max_size=60))
def test_who_waits_is_told_exactly_when_all_its_payloads_are_here_and_all_that_is_wanted_is_asked_for(steps: list) -> None:
    """Against an obvious twin: sets of what each waiter lacks."""
    payloads, peers = table(ALICE)
    lacking: dict[bytes, set[int]] = {}
    wanted: set[int] = set()
    now = 0
    for step in steps:
        match step:
            case ("wait", number, named, source, is_block) if waiter(number) not in lacking:
                need = Need.BLOCK if is_block else Need.FREE
                payloads.wait(waiter(number), tuple(payload(one) for one in named), source, need)
                lacking[waiter(number)] = set(named)
            case ("drop", number):
                payloads.drop(waiter(number))
                lacking.pop(waiter(number), None)
            case ("held", number):
                complete = {name for name, missing in lacking.items() if missing == {number}}
                assert sorted(payloads.note_held(digest(number))) == sorted(complete)
                lacking = {name: missing - {number} for name, missing in lacking.items() if name not in complete}
            case ("also", number, peer):
                payloads.add_source(waiter(number), peer)
            case ("join", peer):
                peers.join(peer, Instant(now))
            case ("leave", peer):
                peers.leave(peer)
            case ("time", passed):
                now += passed
            case ("fail", number, peer):
                payloads.on_failure(digest(number), peer, Instant(now))
        fetches = payloads.fetch_more(Instant(now))
        wanted = set().union(*lacking.values())
        assert {number for number, _ in asked(fetches)} <= wanted
        assert all(peers.get(fetch.peer) is not None for fetch in fetches)
        assert (len(payloads), all(payloads.is_lacking(name) for name in lacking)) == (len(wanted), True)
    peers.join(CAROL, Instant(now))
    seen: set[int] = set()
    under_way = [(number, peer) for number in range(12) for peer in (ALICE, BOB, CAROL)]
    for round_number in range(1, 12):
        fail_all(payloads, under_way, now + REST_MS * round_number)
        under_way = asked(payloads.fetch_more(Instant(now + REST_MS * round_number)))
        seen |= {one for one, _ in under_way}
    assert seen == wanted
