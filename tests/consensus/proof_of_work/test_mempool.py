from hypothesis import given
from hypothesis import strategies as st

from consensus.proof_of_work.mempool import (
    HELD_MAX,
    HELD_PER_SOURCE_MAX,
    LACKING_MAX,
    LACKING_PER_AUTHOR_MAX,
    LACKING_PER_SOURCE_MAX,
    PER_AUTHOR_IN_ALL_MAX,
    PER_AUTHOR_MAX,
    POOL_MAX,
    Assessment,
    Held,
    Mempool,
    Pooled,
)
from consensus.steps import Contribution
from consensus.types import Digest, PeerId, StepId

BASE, OTHER_BASE = StepId(b"b" * 32), StepId(b"o" * 32)
PEER = PeerId(b"p" * 32)


def digest(number: int) -> Digest:
    return Digest(number.to_bytes(32, "big"))


def contribution(author: int = 0, base: StepId = BASE) -> Contribution:
    return Contribution(author.to_bytes(32, "big"), base, b"", (), bytes(64))


def test_a_contribution_is_good_only_after_the_learner_said_so() -> None:
    pool = Mempool()
    assert pool.add(digest(1), contribution(), PEER)
    assert pool.good(digest(1)) is None
    assert pool.settle(digest(1), is_good=True) is not None
    assert pool.good(digest(1)) == contribution()


def test_a_refused_contribution_is_remembered_and_never_good() -> None:
    pool = Mempool()
    pool.add(digest(1), contribution(), PEER)
    pool.settle(digest(1), is_good=False)
    assert (pool.good(digest(1)), digest(1) in pool) == (None, True)
    assert pool.settle(digest(1), is_good=True) is None
    assert not pool.add(digest(1), contribution(), PEER)


def test_an_author_has_a_limit_for_each_base() -> None:
    pool = Mempool()
    added = [pool.add(digest(number), contribution(), PEER) for number in range(PER_AUTHOR_MAX + 1)]
    assert added == [True] * PER_AUTHOR_MAX + [False]
    assert pool.add(digest(1_000), contribution(base=OTHER_BASE), PEER)
    assert pool.add(digest(1_001), contribution(author=1), PEER)


def test_an_author_has_a_limit_over_all_bases() -> None:
    pool = Mempool()
    bases = [StepId(number.to_bytes(32, "big")) for number in range(PER_AUTHOR_IN_ALL_MAX + 1)]
    added = [pool.add(digest(number), contribution(base=base), PEER) for number, base in enumerate(bases)]
    assert added == [True] * PER_AUTHOR_IN_ALL_MAX + [False]
    assert pool.add(digest(1_000), contribution(author=1), PEER)


def test_what_lacks_a_payload_can_be_assessed_only_once_it_is_complete() -> None:
    pool = Mempool()
    assert pool.add_lacking(digest(1), contribution(), PEER)
    assert (digest(1) in pool, pool.settle(digest(1), is_good=True), pool.good(digest(1))) == (True, None, None)
    completed = Pooled(contribution(), PEER, Assessment.WAITING)
    assert (pool.complete(digest(1)), pool.complete(digest(1)), pool.complete(digest(2))) == (completed, None, None)
    assert pool.settle(digest(1), is_good=True) is not None


def test_what_lacks_payloads_is_bounded_by_author_by_source_and_in_all() -> None:
    pool = Mempool()
    sources = [PeerId(bytes([number]) * 32) for number in range(6)]
    by_author = [pool.add_lacking(digest(number), contribution(), sources[number % 6]) for number in range(9)]
    assert by_author == [True] * LACKING_PER_AUTHOR_MAX + [False]
    rest = [
        [
            pool.add_lacking(digest(100 * (1 + number) + one), contribution(100 * (1 + number) + one), source)
            for one in range(90)
        ]
        for number, source in enumerate(sources)
    ]
    assert max(sum(added) for added in rest) <= LACKING_PER_SOURCE_MAX
    assert sum(by_author) + sum(sum(added) for added in rest) == LACKING_MAX
    assert pool.add(digest(9_999), contribution(), sources[0])


def test_a_full_pool_has_room_for_our_own() -> None:
    pool = Mempool()
    for number in range(POOL_MAX):
        assert pool.add(digest(number), contribution(author=number), PEER)
    assert not pool.add(digest(POOL_MAX), contribution(author=POOL_MAX), PEER)
    assert pool.add(digest(POOL_MAX), contribution(author=POOL_MAX), None)


def test_a_full_pool_forgets_what_was_refused_the_oldest_first() -> None:
    pool = Mempool()
    for number in range(POOL_MAX):
        pool.add(digest(number), contribution(author=number), PEER)
    for number in (7, 3):
        pool.settle(digest(number), is_good=False)
    added = [pool.add(digest(number), contribution(author=number), PEER) for number in range(POOL_MAX, POOL_MAX + 3)]
    assert (added, digest(7) in pool, digest(3) in pool) == ([True, True, False], False, False)


def test_what_is_held_leaves_with_its_base() -> None:
    pool = Mempool()
    held = [Held(digest(number), contribution(base=BASE if number % 2 else OTHER_BASE), PEER) for number in range(4)]
    for one in held:
        pool.hold(one)
    assert pool.take_held(BASE) == (held[1], held[3])
    assert pool.take_held(BASE) == ()


def test_what_is_held_is_bounded() -> None:
    pool = Mempool()
    for number in range(HELD_MAX + 5):
        pool.hold(Held(digest(number), contribution(), PeerId(bytes([number]) * 32)))
    assert [held.digest for held in pool.take_held(BASE)] == [digest(number) for number in range(5, HELD_MAX + 5)]


def test_what_one_source_has_us_hold_is_bounded() -> None:
    pool = Mempool()
    pool.hold(Held(digest(1_000), contribution(), PeerId(b"o" * 32)))
    for number in range(HELD_PER_SOURCE_MAX + 5):
        pool.hold(Held(digest(number), contribution(), PEER))
    held = [held.digest for held in pool.take_held(BASE)]
    assert held == [digest(1_000), *(digest(number) for number in range(5, HELD_PER_SOURCE_MAX + 5))]


def test_what_was_dropped_may_come_again() -> None:
    pool = Mempool()
    pool.add(digest(1), contribution(), PEER)
    pool.drop(digest(1))
    assert (digest(1) in pool, pool.waiting(digest(1)), pool.add(digest(1), contribution(), PEER)) == (False, None, True)


def test_other_bases_are_forgotten() -> None:
    pool = Mempool()
    pool.add(digest(1), contribution(), PEER)
    pool.add(digest(2), contribution(base=OTHER_BASE), PEER)
    pool.hold(Held(digest(3), contribution(base=OTHER_BASE), PEER))
    assert pool.keep_bases((BASE,), ()) == (digest(2),)
    assert [digest(number) in pool for number in (1, 2, 3)] == [True, False, False]


AUTHORS, BASES = 2, 3
CHOICES = st.one_of(
    st.tuples(st.integers(0, AUTHORS - 1), st.integers(0, BASES - 1)), st.frozensets(st.integers(0, BASES - 1), min_size=1)
)
"""An author's contribution for a base, or the bases that are kept."""


@given(st.lists(CHOICES, max_size=300))
def test_an_author_s_room_is_what_its_pooled_contributions_leave(choices: list[tuple[int, int] | frozenset[int]]) -> None:
    pool, pooled = Mempool(), []
    bases = [StepId(bytes([number]) * 32) for number in range(BASES)]
    for number, choice in enumerate(choices):
        if isinstance(choice, frozenset):
            pool.keep_bases(tuple(bases[base] for base in sorted(choice)), ())
            pooled = [(author, base) for author, base in pooled if base in choice]
        else:
            has_room = pooled.count(choice) < PER_AUTHOR_MAX
            assert pool.add(digest(number), contribution(choice[0], bases[choice[1]]), PEER) == has_room
            pooled += [choice] if has_room else []
    assert len(pool) == len(pooled)
