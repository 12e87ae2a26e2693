"""Addresses that one person can have at little cost count together. Whom to dial and when."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.types import PeerId
from node.common.address import Address
from node.net.address_book import (
    ADDRESSES_KNOWN_MAX,
    ADDRESSES_PER_SOURCE_MAX,
    LEARNED_FAILURES_MAX,
    AddressBook,
    Backoff,
    Refusals,
    canonical_host,
    group_of,
    is_dialable,
    is_loopback,
    keeps_existing,
    site_of,
)


@pytest.mark.parametrize(
    ("host", "group", "site"),
    [
        ("203.0.114.7", "203.0.114.0/24", "203.0.114.7"),
        ("::ffff:203.0.114.9", "203.0.114.0/24", "203.0.114.9"),
        ("2a00:1450:4001:80b::200e", "2a00:1450:4001::/48", "2a00:1450:4001:80b::/64"),
        ("2a00:1450:4001:80b:ffff::1", "2a00:1450:4001::/48", "2a00:1450:4001:80b::/64"),
        ("2002:cb00:7207:1::1", "203.0.114.0/24", "203.0.114.7"),
        ("fe80::1%eth0", "fe80::/48", "fe80::/64"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("192.168.1.20", "192.168.1.20", "192.168.1.20"),
        ("127.0.0.9", None, None),
        ("::1", None, None),
        ("::ffff:127.0.0.1", None, None),
        ("localhost", None, None),
    ],
)
def test_an_address_has_one_group_and_one_site(host: str, group: str | None, site: str | None) -> None:
    assert (group_of(host), site_of(host)) == (group, site)


def test_one_customer_of_ipv6_is_one_group_however_many_addresses_it_uses() -> None:
    assert len({group_of(f"2a00:1:2:3::{number:x}") for number in range(100)}) == 1
    assert len({group_of(f"2a00:1:2:{number:x}::1") for number in range(100)}) == 1
    assert len({group_of(f"2a00:1:{number:x}::1") for number in range(100)}) == 100


GIVEN = Address("10.0.0.1", 7_600)
LEARNED = Address("10.0.0.2", 7_600)
ANN, BEN = PeerId(b"a" * 32), PeerId(b"b" * 32)


def book_of(*configured: Address) -> AddressBook:
    return AddressBook(configured, Random(7), Backoff(first_seconds=1.0, max_seconds=60.0))


def test_addresses_given_by_the_user_are_dialled_first_and_once() -> None:
    book = book_of(GIVEN)
    assert book.learn(LEARNED, "10.0.0.9", is_local_source=False)
    assert book.due(0.0, frozenset(), 1) == (GIVEN,)
    assert book.due(0.0, frozenset(), 5) == (LEARNED,)
    assert book.due(0.0, frozenset(), 5) == ()


def test_no_more_addresses_are_due_than_wanted() -> None:
    assert book_of(GIVEN).due(0.0, frozenset(), 0) == ()
    assert book_of(GIVEN).due(0.0, frozenset(), -3) == ()


def test_the_last_place_is_kept_for_an_address_of_the_user_s_that_is_away() -> None:
    book = book_of(GIVEN)
    outsiders = {Address("10.0.0.2", port) for port in (1, 2, 3)}
    assert all(book.learn(address, "10.0.0.9", is_local_source=False) for address in outsiders)
    assert book.due(0.0, frozenset(), 1) == (GIVEN,)
    wait = book.on_failure(GIVEN, 0.0)
    assert wait is not None
    assert book.due(0.0, frozenset(), 1) == ()
    assert len(book.due(0.0, frozenset(), 3)) == 2
    assert book.due(wait, frozenset(), 1) == (GIVEN,)
    book.on_answer(GIVEN, ANN)
    assert len(book.due(wait, frozenset({ANN}), 1)) == 1


def test_members_are_dialled_first_and_soon_again() -> None:
    book = AddressBook((), Random(7), Backoff(first_seconds=1.0, max_seconds=60.0), members=frozenset({ANN}), per_group_max=99)
    others = [Address("10.0.0.2", port) for port in range(1, 30)]
    for address in (*others, LEARNED):
        assert book.learn(address, "10.0.0.9", is_local_source=False)
    assert set(book.due(0.0, frozenset(), 99)) == {*others, LEARNED}
    book.on_answer(LEARNED, ANN)
    for address in others:
        book.on_answer(address, BEN)
        book.on_end(address, 0.0, lived_seconds=100.0)
    now = 0.0
    for _ in range(4):
        wait = book.on_failure(LEARNED, now)
        assert wait is not None
        assert wait <= 8.0
        now += wait
        assert book.due(now, frozenset(), 1) == (LEARNED,)


def test_an_outsider_that_is_not_welcome_is_asked_seldom() -> None:
    book = book_of()
    book.learn(LEARNED, "10.0.0.9", is_local_source=False)
    assert book.due(0.0, frozenset(), 1) == (LEARNED,)
    book.on_answer(LEARNED, ANN)
    book.on_declined(LEARNED, 0.0, is_welcome=False)
    assert book.due(59.0, frozenset(), 1) == ()
    assert book.due(60.0, frozenset(), 1) == (LEARNED,)


def test_hints_lead_to_few_of_one_subnet_and_the_user_s_addresses_to_all() -> None:
    given = [Address("203.0.114.1", port) for port in (1, 2, 3)]
    book = book_of(*given)
    dense = {Address(f"198.51.101.{host}", 1) for host in range(1, 40)}
    spread = {Address(f"198.51.{net}.1", 1) for net in range(102, 106)}
    assert all(book.learn(address, "10.0.0.9", is_local_source=False) for address in (*dense, *spread))
    due = set(book.due(0.0, frozenset(), 40))
    assert set(given) <= due
    assert spread <= due
    assert len(due & dense) == 2
    assert set(book.due(0.0, frozenset(), 40, {"198.51.101.0/24": 2})) == set()
    assert len(book.due(0.0, frozenset(), 40, {"198.51.101.0/24": 1})) == 1


def test_waiting_times_double_up_to_their_maximum() -> None:
    book, now = book_of(GIVEN), 0.0
    for failures in range(12):
        assert book.due(now, frozenset(), 1) == (GIVEN,)
        wait = book.on_failure(GIVEN, now)
        longest = min(60.0, 2.0**failures)
        assert wait is not None
        assert longest / 2 <= wait <= longest
        assert book.due(now + wait - 0.01, frozenset(), 1) == ()
        now += wait


def test_a_lasting_failure_waits_the_longest_time_at_once() -> None:
    book = book_of(GIVEN)
    book.due(0.0, frozenset(), 1)
    assert book.on_failure(GIVEN, 0.0, is_lasting=True) == 60.0


def test_a_learned_address_is_forgotten_after_its_last_failure() -> None:
    book, now = book_of(), 0.0
    book.learn(LEARNED, "10.0.0.9", is_local_source=False)
    for _ in range(LEARNED_FAILURES_MAX - 1):
        assert book.due(now, frozenset(), 1) == (LEARNED,)
        now += book.on_failure(LEARNED, now) or 0.0
    book.due(now, frozenset(), 1)
    assert book.on_failure(LEARNED, now) is None
    assert len(book) == 0


def test_a_peer_that_is_connected_or_refused_is_not_dialled_again() -> None:
    book = book_of(GIVEN)
    book.due(0.0, frozenset(), 1)
    book.on_answer(GIVEN, ANN)
    book.on_end(GIVEN, 100.0, lived_seconds=100.0)
    assert book.due(200.0, {ANN}, 1) == ()
    assert book.due(200.0, {BEN}, 1) == (GIVEN,)


def test_a_connection_that_dies_young_is_a_failure_and_one_that_lived_is_not() -> None:
    book = book_of(GIVEN)
    book.due(0.0, frozenset(), 1)
    for now in (0.0, 10.0, 20.0, 30.0):
        book.on_end(GIVEN, now, lived_seconds=1.0)
    assert book.due(33.9, frozenset(), 1) == ()
    book.on_end(GIVEN, 40.0, lived_seconds=10.0)
    assert book.due(41.0, frozenset(), 1) == (GIVEN,)


def test_a_dial_that_was_not_needed_is_no_failure() -> None:
    book = book_of(GIVEN)
    for now in (0.0, 1.0, 2.0, 3.0):
        assert book.due(now, frozenset(), 1) == (GIVEN,)
        book.on_answer(GIVEN, ANN)
        book.on_declined(GIVEN, now)
    assert book.proven_addresses() == (GIVEN,)


def test_our_own_address_is_never_dialled_or_learned_again_where_others_told_it() -> None:
    book = book_of()
    assert book.learn(LEARNED, "10.0.0.9", is_local_source=False)
    book.due(0.0, frozenset(), 1)
    assert book.is_ourselves(LEARNED, 0.0)
    assert not book.learn(LEARNED, "10.0.0.9", is_local_source=False)
    assert len(book) == 0


def test_our_own_address_is_dialled_seldom_where_the_user_gave_it_and_keeps_no_place() -> None:
    book = book_of(GIVEN)
    assert book.learn(LEARNED, "10.0.0.9", is_local_source=False)
    assert book.due(0.0, frozenset(), 1) == (GIVEN,)
    assert book.is_ourselves(GIVEN, 0.0)
    assert book.due(0.0, frozenset(), 1) == (LEARNED,)
    assert book.due(60.0, frozenset(), 1) == (GIVEN,)
    assert not book.is_ourselves(GIVEN, 60.0)
    assert book.due(120.0, frozenset(), 1) == (GIVEN,)
    book.on_answer(GIVEN, ANN)
    book.on_end(GIVEN, 121.0, lived_seconds=1.0)
    assert book.is_configured(GIVEN)


@pytest.mark.slow
def test_one_source_cannot_fill_the_book_and_all_together_cannot_exceed_it() -> None:
    book = book_of(GIVEN)
    proven = Address("10.0.0.1", 1)
    for source in range(40):
        addresses = [Address(f"10.{source}.0.{host}", 1) for host in range(1, 101)]
        kept = sum(book.learn(address, f"9.9.9.{source}", is_local_source=False) for address in addresses)
        assert kept == ADDRESSES_PER_SOURCE_MAX or source >= 15
        if source == 0:
            book.on_answer(proven, ANN)
    assert len(book) == ADDRESSES_KNOWN_MAX
    assert book.is_configured(GIVEN)
    assert book.proven_addresses() == (proven,)


def test_only_proven_addresses_are_told_to_others() -> None:
    book = book_of(GIVEN)
    book.learn(LEARNED, "10.0.0.9", is_local_source=False)
    book.due(0.0, frozenset(), 2)
    book.on_answer(LEARNED, ANN)
    assert book.proven_addresses() == (LEARNED,)


@pytest.mark.parametrize(
    ("host", "port", "is_local_source", "expected"),
    [
        ("10.0.0.1", 7_600, False, True),
        ("127.0.0.1", 7_600, True, True),
        ("127.0.0.1", 7_600, False, False),
        ("::1", 7_600, False, False),
        ("2001:db8::1", 7_600, False, True),
        ("2001:DB8::1", 7_600, False, False),
        ("::ffff:10.0.0.1", 7_600, False, False),
        ("0.0.0.0", 7_600, True, False),
        ("224.0.0.1", 7_600, True, False),
        ("169.254.1.1", 7_600, True, False),
        ("example.org", 7_600, True, False),
        ("10.0.0.1", 0, False, False),
    ],
)
def test_which_hints_are_worth_a_dial(host: str, port: int, is_local_source: bool, expected: bool) -> None:
    assert is_dialable(Address(host, port), is_local_source) is expected


def test_a_host_has_one_spelling() -> None:
    assert [canonical_host(text) for text in ("::ffff:10.0.0.1", "2001:DB8:0::1", "localhost")] == [
        "10.0.0.1",
        "2001:db8::1",
        None,
    ]
    assert [is_loopback(text) for text in ("127.0.0.9", "::1", "localhost", "10.0.0.1", "example.org")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [str(Address("::1", 5)), str(Address("10.0.0.1", 5))] == ["[::1]:5", "10.0.0.1:5"]


def test_refusals_expire_and_the_oldest_are_forgotten() -> None:
    refusals: Refusals[int] = Refusals(seconds=10.0, count_max=2)
    refusals.add(1, 0.0)
    refusals.add(2, 1.0)
    refusals.add(3, 2.0)
    assert [refusals.holds(number, 5.0) for number in (1, 2, 3)] == [False, True, True]
    assert refusals.current(11.0) == {3}
    assert not refusals.holds(3, 12.0)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_when_both_dial_at_once_both_keep_the_same_connection(one: bytes, other: bytes) -> None:
    """Each holds the connection it dialled, and is now asked for the other: one keeps its own, the other gives its own up."""
    if one == other:
        return
    ours, theirs = PeerId(one), PeerId(other)
    assert keeps_existing(ours, theirs, is_existing_outbound=True) is not keeps_existing(
        theirs, ours, is_existing_outbound=True
    )
    assert keeps_existing(ours, theirs, is_existing_outbound=True) is (one < other)
    assert not keeps_existing(ours, theirs, is_existing_outbound=False)


def test_peers_that_are_welcome_again_are_dialled_at_once_and_others_when_their_time_has_come() -> None:
    book, unknown = book_of(GIVEN, LEARNED, Address("10.0.0.3", 7_600)), Address("10.0.0.3", 7_600)
    book.due(0.0, frozenset(), 3)
    book.on_answer(GIVEN, ANN)
    book.on_answer(LEARNED, BEN)
    for address in (GIVEN, LEARNED, unknown):
        book.on_failure(address, 0.0, is_lasting=True)
    book.retry({ANN}, 1.0)
    assert book.due(1.0, frozenset(), 3) == (GIVEN, unknown)
    wait = book.on_failure(GIVEN, 1.0)
    assert wait is not None
    assert wait <= 1.0


def test_a_full_book_costs_nothing_while_nobody_is_wanted_and_little_while_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    book = AddressBook([], Random(1), Backoff())
    for source in range(16):
        for number in range(64):
            assert book.learn(Address(f"93.{source}.{number}.7", 7_600), f"source {source}", is_local_source=False)
    looked_at: list[str] = []

    def counted(host: str) -> str | None:
        looked_at.append(host)
        return group_of(host)

    monkeypatch.setattr("node.net.address_book.group_of", counted)
    assert book.due(0.0, frozenset(), 0) == ()
    assert looked_at == []
    assert len(book.due(0.0, frozenset(), 3)) == 3
    assert len(looked_at) == 3
