"""Who has named which commit: distinct members, each by its first word, and how many of them it takes."""

import pytest

from consensus.total_order.block import CHECKPOINTS_KEPT, MARKS_AHEAD_MAX, MARKS_KEPT, Attestations, Checkpoint, CommitMark
from tests.consensus.total_order.forge import Forge

FORGE = Forge(4, is_real=False)
ONE, OTHER = b"1" * 32, b"2" * 32


def noted(*said: tuple[int, int, bytes]) -> Attestations:
    """After blocks by these members that name these commits."""
    vouching = Attestations(FORGE.committee)
    for copy, (author, index, digest) in enumerate(said):
        vouching.note(FORGE.first(author, commit=CommitMark(index, digest), time_ms=copy).block)
    return vouching


def test_of_a_member_that_names_two_commits_of_one_index_the_first_word_counts() -> None:
    vouching = noted((1, 5, ONE), (1, 5, OTHER), (2, 5, OTHER), (2, 5, OTHER))
    assert vouching.members_naming(5, ONE) == 0b0010
    assert vouching.members_naming(5, OTHER) == 0b0100
    assert vouching.certain_commit() is None, "nobody stands for the same one with another"


def test_a_commit_is_certain_once_f_plus_1_members_name_it() -> None:
    assert noted((1, 5, ONE), (1, 5, ONE)).certain_commit() is None
    assert noted((1, 5, ONE), (2, 5, OTHER)).certain_commit() is None
    assert noted((1, 5, ONE), (2, 5, ONE)).certain_commit() == CommitMark(5, ONE)


def test_the_highest_commit_that_f_plus_1_name_is_the_certain_one_however_far_off() -> None:
    far = MARKS_AHEAD_MAX * 100
    vouching = noted((1, 5, ONE), (2, 5, ONE), (1, far, ONE), (3, far, ONE), (2, far + 9, OTHER))
    assert vouching.certain_commit() == CommitMark(far, ONE)
    vouching.on_commit(far)
    assert vouching.certain_commit() is None


def test_only_the_newest_marks_of_a_member_are_kept() -> None:
    vouching = noted(*((1, index, ONE) for index in range(1, 2 * MARKS_KEPT)), (2, MARKS_KEPT - 1, ONE))
    assert vouching.certain_commit() is None
    vouching = noted(*((1, index, ONE) for index in range(1, 2 * MARKS_KEPT)), (2, MARKS_KEPT, ONE))
    assert vouching.certain_commit() == CommitMark(MARKS_KEPT, ONE)


@pytest.mark.parametrize(("index", "naming"), [(0, 0), (1, 1), (MARKS_AHEAD_MAX, 1), (MARKS_AHEAD_MAX + 1, 0)])
def test_members_are_counted_for_commits_a_little_above_ours(index: int, naming: int) -> None:
    assert noted((0, index, ONE)).members_naming(index, ONE) == naming


def test_an_honest_member_has_reached_what_f_plus_1_say_they_have() -> None:
    assert noted((0, 90, ONE), (1, 70, ONE), (2, 60, ONE)).certain_index() == 70


def test_a_checkpoint_is_agreed_once_f_plus_1_members_have_signed_the_very_same() -> None:
    vouching = Attestations(FORGE.committee)
    said = [(0, 8, ONE), (1, 8, ONE), (1, 16, ONE), (2, 16, OTHER)]
    for author, index, state in said:
        vouching.note(FORGE.first(author, checkpoint=Checkpoint(index, ONE, state)).block)
    assert vouching.best_checkpoint() == (Checkpoint(8, ONE, ONE), 0b0011)
    vouching.on_commit(8)
    for index in range(24, 24 + 8 * CHECKPOINTS_KEPT, 8):
        vouching.note(FORGE.first(3, checkpoint=Checkpoint(index, ONE, ONE)).block)
    vouching.note(FORGE.first(2, checkpoint=Checkpoint(24, ONE, ONE)).block)
    assert vouching.best_checkpoint() == (Checkpoint(24, ONE, ONE), 0b1100)
