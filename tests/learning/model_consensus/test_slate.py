"""Model-consensus as arithmetic on what was delivered: no learner, no task."""

import hashlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.evolution.mutation import Mutation
from learning.evolution.mutation_candidates import Entry, MutationCandidacy, no_change_digest
from learning.evolution.mutation_submission import encode_submission
from learning.evolution.payload import Candidate
from learning.evolution.recipe import Recipe
from learning.evolution.rules import EvolutionRules
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.learner import AuthoredPayload, Phase, faulty_max, quorum
from learning.model_consensus.slate import (
    GenerationResult,
    Ignored,
    ModelConsensus,
    Scores,
    Slate,
    best_of,
    lower_median,
    next_generation,
    slate_digest,
)
from tests.learning.evolution.common_order import names
from tests.learning.following.line_world import signed

GENERATION = b"G" * 32
FOUR = names(4)
fitnesses = st.integers(-5, 5) | st.integers(FITNESS_LOWEST, FITNESS_MAX)


def candidate(author: bytes, index: int = 0, claimed: int = 0, base: bytes = GENERATION) -> AuthoredPayload:
    return signed(author, base, encode_submission(Candidate(Recipe((index,)), claimed)))


def scores(author: bytes, slate: bytes, values: tuple[int, ...], base: bytes = GENERATION) -> AuthoredPayload:
    return signed(author, base, encode_submission(Scores(slate, values)))


def consensus_of(members: tuple[bytes, ...] = FOUR) -> ModelConsensus[Candidate, Entry]:
    return ModelConsensus(members, GENERATION, MutationCandidacy(len(members), EvolutionRules()))


def commit(
    consensus: ModelConsensus[Candidate, Entry], *items: AuthoredPayload
) -> Slate[Entry] | GenerationResult[Entry] | None:
    for item in items:
        consensus.deliver(item)
    return consensus.end_of_commit()


def closed(members: tuple[bytes, ...] = FOUR) -> tuple[ModelConsensus[Candidate, Entry], Slate[Entry]]:
    """A slate with a candidate of every member."""
    consensus = consensus_of(members)
    slate = commit(consensus, *(candidate(author) for author in members))
    assert isinstance(slate, Slate)
    return consensus, slate


def authors_of(slate: Slate[Entry]) -> list[bytes | None]:
    return [entry.mutation.author if entry.mutation else None for entry in slate.entries]


# --- arithmetic -----------------------------------------------------------------------------------------------------


@given(members=st.integers(1, 200))
def test_a_quorum_is_always_reached_and_mostly_honest(members: int) -> None:
    faulty = faulty_max(members)
    assert (3 * faulty < members, 3 * (faulty + 1) < members) == (True, False)
    assert quorum(members) + faulty == members
    assert quorum(members) - faulty > faulty
    assert 2 * quorum(members) - members > faulty


@pytest.mark.slow
@given(honest=st.lists(fitnesses, min_size=1, max_size=9), data=st.data())
def test_the_lower_median_with_a_minority_of_lies_is_within_the_honest_range(honest: list[int], data: st.DataObject) -> None:
    lies = data.draw(st.lists(fitnesses, max_size=len(honest) - 1))
    assert min(honest) <= lower_median(honest + lies) <= max(honest)


def test_the_lower_median_is_one_of_the_values() -> None:
    assert [lower_median(values) for values in ([7], [3, 1], [5, 1, 3], [4, 1, 3, 2])] == [7, 1, 3, 2]


def test_of_equals_the_lowest_digest_wins_the_parents_included() -> None:
    entries = tuple(Entry(bytes([first]) * 32, None, None) for first in (5, 9, 2, 2, 1))
    columns = ((0, 0, 0, 0, -1), (0, 1, 1, 1, 0), (3, 3, 0, 0, 0))
    assert [best_of(entries, agreed) for agreed in columns] == [2, 2, 0]
    assert [best_of(entries, agreed, must_improve=True) for agreed in columns] == [0, 2, 0]


def test_the_digests_are_those_of_the_first_release() -> None:
    def blake(content: bytes) -> bytes:
        return hashlib.blake2b(content, digest_size=32).digest()

    entries = (Entry(b"p" * 32, None, None), Entry(b"q" * 32, Mutation(b"a" * 32, Recipe((1,))), 0))
    assert no_change_digest(GENERATION) == blake(b"\x12kubrat/no-change/1" + GENERATION)
    assert slate_digest(GENERATION, entries) == blake(b"\x0ekubrat/slate/1" + GENERATION + b"p" * 32 + b"q" * 32)
    following = next_generation(GENERATION, b"w" * 32, b"s" * 32)
    assert following == blake(b"\x13kubrat/generation/1" + GENERATION + b"w" * 32 + b"s" * 32)


# --- the slate ------------------------------------------------------------------------------------------------------


def test_the_slate_holds_the_parent_and_all_candidates_of_the_commit_that_closes_it() -> None:
    consensus = consensus_of()
    first, second, third, fourth = (candidate(author, index=number) for number, author in enumerate(FOUR))
    assert (commit(consensus, second), commit(consensus), commit(consensus, first)) == (None, None, None)
    slate = commit(consensus, fourth, third)
    assert slate == consensus.slate
    assert isinstance(slate, Slate)
    assert [entry.digest for entry in slate.entries] == [
        no_change_digest(GENERATION),
        *(i.digest for i in (second, first, fourth, third)),
    ]
    assert slate.digest == slate_digest(GENERATION, slate.entries)
    assert slate.entries[3] == Entry(fourth.digest, Mutation(FOUR[3], Recipe((3,))), 0)


def test_what_is_waited_for_can_be_told() -> None:
    consensus = consensus_of()
    commit(consensus, candidate(FOUR[2]), candidate(FOUR[0]))
    assert (consensus.phase, consensus.counted, consensus.needed) == (Phase.CANDIDATES, (FOUR[2], FOUR[0]), 3)
    slate = commit(consensus, candidate(FOUR[1]))
    assert isinstance(slate, Slate)
    assert (consensus.phase, consensus.counted, consensus.needed) == (Phase.SCORES, (), 3)
    commit(consensus, scores(FOUR[1], slate.digest, (0, 0, 0, 0)))
    assert consensus.counted == (FOUR[1],)


def test_the_first_candidate_of_an_author_counts() -> None:
    consensus = consensus_of()
    assert [consensus.deliver(candidate(FOUR[0], index=index)) for index in (4, 5, 4)] == [
        None,
        *[Ignored.SECOND_CANDIDATE] * 2,
    ]
    assert consensus.entries[1].mutation == Mutation(FOUR[0], Recipe((4,)))


def test_equal_candidates_of_two_authors_are_two() -> None:
    _, slate = closed()
    assert authors_of(slate) == [None, *FOUR]
    assert len({entry.digest for entry in slate.entries}) == 5


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (candidate(b"x" * 32), Ignored.OUTSIDER),
        (candidate(FOUR[0], base=b"o" * 32), Ignored.OTHER_GENERATION),
        (signed(FOUR[0], GENERATION, b"junk"), Ignored.MALFORMED),
        (signed(FOUR[0], GENERATION, encode_submission(Candidate(Recipe((1, 2)), 0))), Ignored.MALFORMED),
        (scores(FOUR[0], b"s" * 32, (0,)), Ignored.EARLY_SCORES),
    ],
)
def test_what_cannot_be_on_the_slate_is_ignored(item: AuthoredPayload, reason: Ignored) -> None:
    consensus = consensus_of()
    assert (consensus.deliver(item), len(consensus.entries)) == (reason, 1)
    assert consensus.deliver(candidate(FOUR[0])) is None


# --- scores ---------------------------------------------------------------------------------------------------------


def test_scores_that_fit_no_entry_are_ignored_and_cost_their_author_nothing() -> None:
    consensus, slate = closed()
    ignored = {
        Ignored.OTHER_SLATE: scores(FOUR[0], b"s" * 32, (0,) * 5),
        Ignored.WRONG_COUNT: scores(FOUR[0], slate.digest, (0,) * 4),
        Ignored.OTHER_GENERATION: scores(FOUR[0], slate.digest, (0,) * 5, base=b"o" * 32),
        Ignored.MALFORMED: signed(FOUR[0], GENERATION, encode_submission(Scores(slate.digest, (0,) * 6))),
        Ignored.OUTSIDER: scores(b"x" * 32, slate.digest, (0,) * 5),
    }
    assert {consensus.deliver(item): item for item in ignored.values()} == ignored
    assert consensus.deliver(scores(FOUR[0], slate.digest, (0,) * 5)) is None
    assert consensus.deliver(scores(FOUR[0], slate.digest, (1,) * 5)) is Ignored.SECOND_SCORES


def test_a_candidate_for_a_closed_slate_is_late() -> None:
    consensus = consensus_of()
    commit(consensus, *(candidate(author) for author in FOUR[:3]))
    assert consensus.deliver(candidate(FOUR[3])) is Ignored.LATE_CANDIDATE


def test_scores_in_the_commit_that_closes_the_slate_are_early() -> None:
    consensus = consensus_of()
    items = tuple(candidate(author) for author in FOUR)
    entries = (Entry(no_change_digest(GENERATION), None, None), *(Entry(item.digest, None, None) for item in items))
    for item in items:
        consensus.deliver(item)
    assert consensus.deliver(scores(FOUR[0], slate_digest(GENERATION, entries), (0,) * 5)) is Ignored.EARLY_SCORES


def test_the_decision_counts_all_scores_of_its_commit_and_what_was_ignored() -> None:
    consensus, slate = closed()
    values = {FOUR[0]: (0, 9, 1, 4, 0), FOUR[1]: (0, 8, 2, 5, 0), FOUR[2]: (0, -9, 3, 6, 0), FOUR[3]: (0, -8, 4, 7, 0)}
    commit(consensus, scores(FOUR[2], slate.digest, values[FOUR[2]]), candidate(FOUR[1]), signed(FOUR[1], GENERATION, b""))
    commit(consensus, signed(FOUR[1], GENERATION, b"\x07"))
    decision = commit(consensus, *(scores(author, slate.digest, values[author]) for author in (FOUR[3], FOUR[0], FOUR[1])))
    ignored = ((Ignored.MALFORMED, 2), (Ignored.SECOND_CANDIDATE, 1))
    assert decision == GenerationResult(slate, (0, -8, 2, 5, 0), 3, (FOUR[2], FOUR[3], FOUR[0], FOUR[1]), ignored)


def test_the_next_generation_starts_from_nothing() -> None:
    consensus, slate = closed()
    commit(consensus, candidate(FOUR[0]), *(scores(author, slate.digest, (0,) * 5) for author in FOUR))
    consensus.begin(b"N" * 32)
    assert (consensus.generation, consensus.slate, consensus.counted) == (b"N" * 32, None, ())
    assert consensus.deliver(scores(FOUR[0], slate.digest, (0,) * 5)) is Ignored.OTHER_GENERATION
    following = commit(consensus, *(candidate(author, base=b"N" * 32) for author in FOUR))
    assert isinstance(following, Slate)
    rows = (scores(author, following.digest, (0,) * 5, base=b"N" * 32) for author in FOUR)
    decision = commit(consensus, *rows)
    assert isinstance(decision, GenerationResult)
    assert decision.ignored == ((Ignored.OTHER_GENERATION, 1),)


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (8, 6)])
def test_a_generation_needs_a_quorum_twice_whatever_the_number_of_members(size: int, needed: int) -> None:
    members = names(size)
    consensus = consensus_of(members)
    slates = [commit(consensus, candidate(author)) for author in members[:needed]]
    slate = slates[-1]
    assert slates[:-1] == [None] * (needed - 1)
    assert isinstance(slate, Slate)
    values = tuple(range(len(slate.entries)))
    decisions = [commit(consensus, scores(author, slate.digest, values)) for author in members[-needed:]]
    assert decisions[:-1] == [None] * (needed - 1)
    assert isinstance(decisions[-1], GenerationResult)
    assert (decisions[-1].winner, decisions[-1].agreed) == (needed, values)


# --- validity and integrity, whatever f members do --------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Who is a member, who lies, whose candidates and scores are delivered, and what each says."""

    members: tuple[bytes, ...]
    liars: frozenset[bytes]
    candidates: tuple[bytes, ...]
    scorers: tuple[bytes, ...]
    said: dict[bytes, tuple[int, ...]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    members = names(draw(st.integers(1, 11)))
    liars = draw(st.permutations(members))[: draw(st.integers(0, faulty_max(len(members))))]
    present = [draw(st.permutations(members))[: draw(st.integers(quorum(len(members)), len(members)))] for _ in range(2)]
    columns = len(present[0]) + 1
    said = {author: tuple(draw(st.lists(fitnesses, min_size=columns, max_size=columns))) for author in present[1]}
    return Case(members, frozenset(liars), tuple(present[0]), tuple(present[1]), said)


@given(case=cases())
def test_agreed_fitness_is_valid_and_the_winner_real(case: Case) -> None:
    consensus = consensus_of(case.members)
    slate = commit(consensus, *(candidate(author) for author in case.candidates))
    assert isinstance(slate, Slate)
    decision = commit(consensus, *(scores(author, slate.digest, case.said[author]) for author in case.scorers))
    assert isinstance(decision, GenerationResult)
    honest = [case.said[author] for author in case.scorers if author not in case.liars]
    for place, agreed in enumerate(decision.agreed):
        assert min(said[place] for said in honest) <= agreed <= max(said[place] for said in honest)
    of_honest = [place for place, author in enumerate(authors_of(slate)) if author and author not in case.liars]
    assert len(of_honest) > faulty_max(len(case.members))
    assert decision.agreed[decision.winner] == max(decision.agreed) >= max(decision.agreed[place] for place in of_honest)
    assert authors_of(slate)[decision.winner] in {None, *case.candidates}


@given(case=cases())
def test_the_order_within_the_commits_changes_nothing_but_the_order_of_the_slate(case: Case) -> None:
    said = {author: dict(zip((None, *case.candidates), case.said[author], strict=True)) for author in case.scorers}

    def winner(candidates: tuple[bytes, ...], scorers: tuple[bytes, ...]) -> tuple[bytes, int]:
        consensus = consensus_of(case.members)
        slate = commit(consensus, *(candidate(author) for author in candidates))
        assert isinstance(slate, Slate)
        rows = {author: tuple(said[author][entry] for entry in authors_of(slate)) for author in scorers}
        decision = commit(consensus, *(scores(author, slate.digest, rows[author]) for author in scorers))
        assert isinstance(decision, GenerationResult)
        return slate.entries[decision.winner].digest, decision.agreed[decision.winner]

    assert winner(case.candidates, case.scorers) == winner(case.candidates[::-1], case.scorers[::-1])


def test_a_claim_changes_nothing_but_the_tie_of_digests() -> None:
    honest, boast = candidate(FOUR[0], claimed=-5), candidate(FOUR[0], claimed=FITNESS_MAX)
    decisions = []
    for item in (honest, boast):
        consensus = consensus_of()
        slate = commit(consensus, item, *(candidate(author) for author in FOUR[1:]))
        assert isinstance(slate, Slate)
        decision = commit(consensus, *(scores(author, slate.digest, (0, 1, 2, 4, 3)) for author in FOUR))
        assert isinstance(decision, GenerationResult)
        decisions.append(decision)
    assert [decision.winner for decision in decisions] == [3, 3]
    assert decisions[0].agreed == decisions[1].agreed


@given(items=st.lists(st.binary(max_size=60), max_size=30), author=st.sampled_from((*FOUR, b"x" * 32)))
def test_junk_leaves_an_open_slate_empty_or_holds_a_real_candidate(items: list[bytes], author: bytes) -> None:
    consensus = consensus_of()
    reasons = [consensus.deliver(signed(author, GENERATION, payload)) for payload in items]
    assert len(consensus.entries) == 1 + reasons.count(None)
