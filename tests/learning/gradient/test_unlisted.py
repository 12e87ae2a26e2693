"""Contributions wait in the order in which they came, and nobody can fill the room of the others."""

from learning.gradient.submission import GradientSubmission
from learning.gradient.unlisted import PENDING_MAX, PENDING_PER_AUTHOR_MAX, UnlistedContribution, UnlistedContributions
from learning.learner import AuthoredPayload

NONE_LISTED: frozenset[bytes] = frozenset()


def waiting(author: int, base: int) -> UnlistedContribution:
    digest = author.to_bytes(16, "big") + base.to_bytes(16, "big")
    return UnlistedContribution(
        AuthoredPayload(digest, author.to_bytes(32, "big"), bytes(32), b""),
        GradientSubmission(base, base.to_bytes(32, "big"), bytes(32), 1),
    )


def test_contributions_come_back_in_their_order() -> None:
    pending, items = UnlistedContributions(), [waiting(3, 1), waiting(1, 1), waiting(2, 5)]
    assert all(pending.add(item, NONE_LISTED) for item in items)
    assert list(pending) == items


def test_of_one_author_on_one_model_the_first_waits() -> None:
    pending = UnlistedContributions()
    first = waiting(1, 1)
    second = UnlistedContribution(AuthoredPayload(b"2" * 32, first.contribution.author, bytes(32), b""), first.submission)
    assert [pending.add(first, NONE_LISTED), pending.add(second, NONE_LISTED)] == [True, False]
    assert list(pending) == [first]
    assert pending.add(second, frozenset({first.contribution.digest})), "the model was opened to its author once more"


def test_an_author_has_room_for_a_few() -> None:
    pending = UnlistedContributions()
    assert [pending.add(waiting(1, base), NONE_LISTED) for base in range(20)] == [
        base < PENDING_PER_AUTHOR_MAX for base in range(20)
    ]
    assert pending.add(waiting(2, 0), NONE_LISTED)


def test_the_room_is_bounded() -> None:
    pending = UnlistedContributions()
    added = [pending.add(waiting(author, 0), NONE_LISTED) for author in range(300)]
    assert (sum(added), len(pending)) == (PENDING_MAX, PENDING_MAX)


def test_what_is_not_kept_makes_room() -> None:
    pending = UnlistedContributions()
    for base in range(PENDING_PER_AUTHOR_MAX):
        pending.add(waiting(1, base), NONE_LISTED)
    pending.keep(lambda known: known != waiting(1, 0))
    assert waiting(1, 0).contribution.digest not in pending
    assert pending.add(waiting(1, 100), NONE_LISTED)


def test_what_is_listed_makes_room_for_what_is_not_the_oldest_first() -> None:
    pending, own = UnlistedContributions(), [waiting(1, base) for base in range(PENDING_PER_AUTHOR_MAX)]
    assert all(pending.add(item, NONE_LISTED) for item in own)
    listed = frozenset(item.contribution.digest for item in own[2:4])
    newer = [waiting(1, 100 + turn) for turn in range(3)]
    assert [pending.add(item, listed) for item in newer] == [True, True, False]
    assert list(pending) == [*own[:2], *own[4:], *newer[:2]]


def test_what_others_have_listed_makes_room_where_all_is_full() -> None:
    pending, items = UnlistedContributions(), [waiting(author, 0) for author in range(PENDING_MAX)]
    assert all(pending.add(item, NONE_LISTED) for item in items)
    assert pending.add(waiting(PENDING_MAX, 0), frozenset({items[7].contribution.digest}))
    assert (len(pending), items[7].contribution.digest in pending) == (PENDING_MAX, False)
