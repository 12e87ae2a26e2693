"""Contributions wait in the order in which they came, and nobody can fill the room of the others."""

from learning.gradient.pending import PENDING_MAX, PENDING_PER_AUTHOR_MAX, Pending, Waiting
from learning.gradient.submission import Submission
from learning.learner import SignedPayload


def waiting(author: int, base: int) -> Waiting:
    digest = author.to_bytes(16, "big") + base.to_bytes(16, "big")
    return Waiting(
        SignedPayload(digest, author.to_bytes(32, "big"), bytes(32), b""),
        Submission(base, base.to_bytes(32, "big"), bytes(32), 1),
    )


def test_contributions_come_back_in_their_order() -> None:
    pending, items = Pending(), [waiting(3, 1), waiting(1, 1), waiting(2, 5)]
    assert all(pending.add(item) for item in items)
    assert list(pending) == items


def test_of_one_author_on_one_model_the_first_waits() -> None:
    pending = Pending()
    first = waiting(1, 1)
    second = Waiting(SignedPayload(b"2" * 32, first.contribution.author, bytes(32), b""), first.submission)
    assert [pending.add(first), pending.add(second)] == [True, False]
    assert list(pending) == [first]


def test_an_author_has_room_for_a_few() -> None:
    pending = Pending()
    assert [pending.add(waiting(1, base)) for base in range(20)] == [base < PENDING_PER_AUTHOR_MAX for base in range(20)]
    assert pending.add(waiting(2, 0))


def test_the_room_is_bounded() -> None:
    pending = Pending()
    added = [pending.add(waiting(author, 0)) for author in range(300)]
    assert (sum(added), len(pending)) == (PENDING_MAX, PENDING_MAX)


def test_what_is_not_kept_makes_room() -> None:
    pending = Pending()
    for base in range(PENDING_PER_AUTHOR_MAX):
        pending.add(waiting(1, base))
    pending.keep(lambda known: known != waiting(1, 0))
    assert waiting(1, 0).contribution.digest not in pending
    assert pending.add(waiting(1, 100))
