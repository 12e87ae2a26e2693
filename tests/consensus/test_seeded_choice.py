"""Lots are the same for ever: who is asked next, and which of two heads wins, is part of every recorded run."""

from consensus.seeded_choice import SeededChoice, lot_of


def test_a_seed_draws_what_it_has_always_drawn() -> None:
    choice = SeededChoice(b"a seed")
    assert [choice.pick(range(10)) for _ in range(8)] == [5, 0, 2, 4, 4, 4, 3, 9]
    assert choice.shuffled("abcdef") == ["e", "a", "c", "d", "f", "b"]


def test_lots_differ_by_seed_and_by_name() -> None:
    assert len({lot_of(seed, name) for seed in (b"one", b"other") for name in (b"head", b"rival")}) == 4
