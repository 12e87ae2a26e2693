"""An inbound place is won by being of use, or by what an attacker cannot have in plenty."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from consensus.types import PeerId
from node.net.eviction import InboundPeer, whom_to_evict

NEVER = float("-inf")
SECRET = b"secret"


def crowd(count: int, group: str = "203.0.113.0/24", first: int = 0, **changes: float) -> list[InboundPeer]:
    """Idle and slow, one after the other."""
    return [
        InboundPeer(
            PeerId(number.to_bytes(32, "big")),
            group,
            changes.get("connected_at", 1_000.0 + number),
            changes.get("answer_seconds", 1.0 + number),
            changes.get("useful_at", NEVER),
        )
        for number in range(first, first + count)
    ]


def evicted_in_turn(candidates: list[InboundPeer]) -> list[InboundPeer]:
    """Whoever is put out, one after the other, until everybody left is worth keeping."""
    left, gone = list(candidates), []
    while (peer := whom_to_evict(left, SECRET)) is not None:
        gone += [candidate for candidate in left if candidate.peer == peer]
        left = [candidate for candidate in left if candidate.peer != peer]
    return gone


def test_a_few_are_all_worth_keeping_and_a_crowd_is_not() -> None:
    assert whom_to_evict(crowd(12), SECRET) is None
    assert whom_to_evict(crowd(64), SECRET) is not None
    assert whom_to_evict([], SECRET) is None


def test_the_youngest_of_the_largest_subnet_goes() -> None:
    spread = [crowd(1, f"198.51.{number}.0/24", 100 + number)[0] for number in range(20)]
    dense = crowd(44)
    assert whom_to_evict([*spread, *dense], SECRET) in {candidate.peer for candidate in dense}
    left = [candidate for candidate in dense if candidate.peer == whom_to_evict([*spread, *dense], SECRET)]
    others = [candidate for candidate in dense if candidate.connected_at > left[0].connected_at]
    assert len(others) <= 4, "only those of a drawn subnet are younger and stay"


def test_who_is_near_useful_or_long_here_stays_however_many_come() -> None:
    near = crowd(3, "198.51.100.0/24", 900, answer_seconds=0.001, connected_at=5_000.0)
    useful = crowd(3, "198.51.101.0/24", 910, useful_at=4_000.0, connected_at=5_000.0, answer_seconds=90.0)
    old = crowd(3, "198.51.102.0/24", 920, connected_at=1.0, answer_seconds=90.0)
    strangers = crowd(55)
    gone = evicted_in_turn([*near, *useful, *old, *strangers])
    assert gone
    assert {candidate.group for candidate in gone} == {"203.0.113.0/24"}


def test_an_attacker_with_one_subnet_cannot_put_out_those_of_others_who_were_here() -> None:
    """However often it comes again, and however near it is: what begins later does not reach who was here."""
    honest = [crowd(1, f"198.51.{number}.0/24", 100 + number, connected_at=10.0 + number)[0] for number in range(30)]
    places = [*honest, *crowd(34, answer_seconds=0.0001, connected_at=100.0)]
    for number in range(200):
        peer = whom_to_evict(places, SECRET)
        places = [candidate for candidate in places if candidate.peer != peer]
        places += crowd(1, first=10_000 + number, answer_seconds=0.0001, connected_at=2_000.0 + number)
    assert set(honest) <= set(places)


@given(st.integers(0, 100), st.integers(0, 2**32))
def test_the_order_of_the_candidates_does_not_matter(count: int, seed: int) -> None:
    random = Random(seed)
    candidates = [
        InboundPeer(
            PeerId(number.to_bytes(32, "big")),
            f"group {random.randrange(6)}",
            float(random.randrange(5)),
            float(random.randrange(5)),
            random.choice((NEVER, 1.0, 2.0)),
        )
        for number in range(count)
    ]
    shuffled = random.sample(candidates, count)
    assert whom_to_evict(candidates, SECRET) == whom_to_evict(shuffled, SECRET)
    assert (whom_to_evict(candidates, SECRET) is None) <= (count <= 21)
