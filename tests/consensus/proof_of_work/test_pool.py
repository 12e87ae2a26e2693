from consensus.contribution import Contribution
from consensus.proof_of_work.pool import HELD_MAX, PER_AUTHOR_MAX, POOL_MAX, Held, Pool
from consensus.types import Digest, PeerId, StepId

BASE, OTHER_BASE = StepId(b"b" * 32), StepId(b"o" * 32)
PEER = PeerId(b"p" * 32)


def digest(number: int) -> Digest:
    return Digest(number.to_bytes(32, "big"))


def contribution(author: int = 0, base: StepId = BASE) -> Contribution:
    return Contribution(author.to_bytes(32, "big"), base, b"", bytes(64))


def test_a_contribution_is_good_only_after_the_learner_said_so() -> None:
    pool = Pool()
    assert pool.add(digest(1), contribution(), PEER)
    assert pool.good(digest(1)) is None
    assert pool.settle(digest(1), is_good=True) is not None
    assert pool.good(digest(1)) == contribution()


def test_a_refused_contribution_is_remembered_and_never_good() -> None:
    pool = Pool()
    pool.add(digest(1), contribution(), PEER)
    pool.settle(digest(1), is_good=False)
    assert (pool.good(digest(1)), digest(1) in pool) == (None, True)
    assert pool.settle(digest(1), is_good=True) is None
    assert not pool.add(digest(1), contribution(), PEER)


def test_an_author_has_a_limit_for_each_base() -> None:
    pool = Pool()
    added = [pool.add(digest(number), contribution(), PEER) for number in range(PER_AUTHOR_MAX + 1)]
    assert added == [True] * PER_AUTHOR_MAX + [False]
    assert pool.add(digest(1_000), contribution(base=OTHER_BASE), PEER)
    assert pool.add(digest(1_001), contribution(author=1), PEER)


def test_a_full_pool_has_room_for_our_own() -> None:
    pool = Pool()
    for number in range(POOL_MAX):
        assert pool.add(digest(number), contribution(author=number), PEER)
    assert not pool.add(digest(POOL_MAX), contribution(author=POOL_MAX), PEER)
    assert pool.add(digest(POOL_MAX), contribution(author=POOL_MAX), None)


def test_what_is_held_leaves_with_its_base() -> None:
    pool = Pool()
    held = [Held(digest(number), contribution(base=BASE if number % 2 else OTHER_BASE), PEER) for number in range(4)]
    for one in held:
        pool.hold(one)
    assert pool.take_held(BASE) == (held[1], held[3])
    assert pool.take_held(BASE) == ()


def test_what_is_held_is_bounded() -> None:
    pool = Pool()
    for number in range(HELD_MAX + 5):
        pool.hold(Held(digest(number), contribution(), PEER))
    assert [held.digest for held in pool.take_held(BASE)] == [digest(number) for number in range(5, HELD_MAX + 5)]


def test_other_bases_are_forgotten() -> None:
    pool = Pool()
    pool.add(digest(1), contribution(), PEER)
    pool.add(digest(2), contribution(base=OTHER_BASE), PEER)
    pool.hold(Held(digest(3), contribution(base=OTHER_BASE), PEER))
    pool.keep_bases((BASE,), ())
    assert [digest(number) in pool for number in (1, 2, 3)] == [True, False, False]
