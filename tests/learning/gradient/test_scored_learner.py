"""Members score every step: they hold one model after every commit, and no f of them make it worse."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.rule import GradientOutcome
from learning.gradient.ledger import GradientSubmission, PayloadMissingError
from learning.gradient.scored_slate import decode_scored, encode_scored
from learning.gradient.worker import FRUITLESS_MAX
from learning.learner import (
    AuthoredPayload,
    GenerationDecided,
    GenerationWaits,
    GradientReport,
    LearnerAnswer,
    OwnPartDue,
    Phase,
    RestoreRequest,
    StepAdopted,
    StepApplied,
)
from learning.model_consensus.slate import SCORES_KIND, Scores, lower_median
from learning.state import StoredStateError
from learning.task import Float32Array, Int64Array
from node.lab.faults.gradient.conduct import Submitted
from tests.learning.evolution.exchange import GENESIS
from tests.learning.following.line_world import Order, Shelf, attached, commit, signed
from tests.learning.gradient.quadratic import SAMPLES, encoded_gradient
from tests.learning.gradient.scored_order import ENTRIES_MAX, Attacker, ScoredMember, favours, half_a_slate, named, scored_world
from tests.learning.gradient.stream import FOUR, World

SEVEN = tuple(bytes([number + 1]) * 32 for number in range(7))
OBSERVER = b"o" * 32
LONG = 200
"""Commits: three kept states."""

Attack = Callable[[Float32Array], tuple[Submitted, ...]]
ATTACKS: dict[str, Attack] = {
    "sign flip": lambda own: (-own,),
    "sign flip, large": lambda own: (-own * np.float32(10),),
    "random": lambda own: (np.random.default_rng(len(own)).standard_normal(len(own)).astype(np.float32) * np.float32(10),),
    "zeros": lambda own: (np.zeros_like(own),),
    "huge": lambda own: (np.full_like(own, 1e20),),
    "silent": lambda own: (),
    "several": lambda own: (-own, own, -own * np.float32(3)),
    "junk": lambda own: (b"junk", b""),
}


def members_of(world: World, liars: int = 0, attack: Attack | None = None) -> list[ScoredMember]:
    """The last ones lie, in their gradients and in their scores."""
    honest, lying = world.members[: len(world.members) - liars], world.members[len(world.members) - liars :]
    assert attack is not None or not lying
    return [
        *(ScoredMember(world, author) for author in honest),
        *(ScoredMember(world, author, conduct=Attacker(attack), distortion=favours(*lying)) for author in lying if attack),
    ]


def run(members: list[ScoredMember], commits: int, seed: int = 1) -> Order:
    order = Order(members, seed, half_a_slate)
    order.run(commits)
    return order


def agreed(member: ScoredMember) -> list[LearnerAnswer]:
    """All answers that follow from what is agreed, without what is the member's own."""
    return [_without_own(answer) for answer in member.answers if not isinstance(answer, GenerationWaits | StepApplied)]


def _without_own(answer: LearnerAnswer) -> LearnerAnswer:
    if not isinstance(answer, GenerationDecided):
        return answer
    return replace(answer, slate=tuple(replace(entry, measured_fitness=None) for entry in answer.slate))


def generation(members: list[ScoredMember], height: int) -> list[AuthoredPayload]:
    """Two commits that decide one generation, everybody in time; the items of the first."""
    gradients = [item for member in members for item in member.work_until_idle()]
    for member in members:
        member.deliver(commit(height, gradients))
    scores = [item for member in members for item in member.work_until_idle()]
    for member in members:
        member.deliver(commit(height + 1, scores))
    return gradients


# --- agreement and progress -----------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 5), attack=st.sampled_from(sorted(ATTACKS)))
def test_members_agree_whenever_they_search_and_however_commits_are_batched(seed: int, size: int, attack: str) -> None:
    liars = (size - 1) // 3
    members = [*members_of(scored_world(SEVEN[:size]), liars, ATTACKS[attack])]
    run(members, 25, seed)
    assert all(agreed(member) == agreed(members[0]) for member in members)
    assert len({member.model for member in members}) == 1


@pytest.mark.parametrize("size", [1, 2, 4, 7])
def test_members_and_observers_hold_the_same_models_and_improve(size: int) -> None:
    world = scored_world(SEVEN[:size])
    watching = ScoredMember(world, OBSERVER), ScoredMember(world, SEVEN[0], is_searching=False)
    members = [*members_of(world), *watching]
    run(members, 150)
    assert all(agreed(member) == agreed(members[0]) for member in members)
    assert all(not observer.learner.is_searching for observer in watching)
    distances = [adopted.metrics["distance"] for adopted in members[0].adopted]
    assert len(distances) >= 10
    assert distances[-1] < distances[0] / 10


def test_a_generation_takes_two_commits_and_moves_the_height_by_one() -> None:
    members = members_of(scored_world())
    for height in (1, 3, 5):
        generation(members, height)
    decided = members[0].decided
    assert [answer.height for answer in decided] == [1, 2, 3] == [answer.height for answer in members[0].adopted]
    assert [answer.parent for answer in decided] == [GENESIS, decided[0].step, decided[1].step]
    assert members[0].model.step == decided[2].step == members[0].adopted[2].step


# --- what f liars can do --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(("members", "liars"), [(FOUR, 1), (SEVEN, 2)])
def test_f_liars_never_make_the_model_worse_where_the_honest_measure_the_same(
    members: tuple[bytes, ...], liars: int, attack: str
) -> None:
    everybody = members_of(scored_world(members), liars, ATTACKS[attack])
    for height in range(1, 31, 2):
        generation(everybody, height)
    fitness = [adopted.fitness for adopted in everybody[0].adopted]
    assert fitness == sorted(fitness)
    assert len(fitness) == 15
    assert everybody[0].adopted[-1].metrics["distance"] < everybody[0].adopted[0].metrics["distance"] / 2


@pytest.mark.parametrize("attack", ["sign flip, large", "random", "several"])
def test_with_samples_of_ones_own_each_winner_improves_by_an_honest_measurement(attack: str) -> None:
    world, rows = scored_world(), np.arange(SAMPLES, dtype=np.int64)

    def member(place: int, author: bytes) -> ScoredMember:
        own: Int64Array = rows[place::4]
        if place < 3:
            return ScoredMember(world, author, rows=own)
        return ScoredMember(world, author, rows=own, conduct=Attacker(ATTACKS[attack]), distortion=favours(author))

    members = [member(place, author) for place, author in enumerate(FOUR)]
    order = run(members, 100)
    said = [item for step in order.log for item in step.items if item.payload[:1] == bytes([SCORES_KIND])]
    scores = {(item.base, item.author): decode_scored(item.payload, ENTRIES_MAX) for item in said}
    assert len(members[0].decided) > 5
    for decided in members[0].decided:
        leads = []
        for author in decided.scorers:
            submission = scores[decided.parent, author]
            if isinstance(submission, Scores):
                leads.append((author, [value - submission.values[0] for value in submission.values]))
        for place, entry in enumerate(decided.slate):
            honest = [values[place] for author, values in leads if author != FOUR[3]]
            assert min(honest) <= entry.agreed_fitness <= max(honest)
        assert decided.slate[decided.winner].agreed_fitness > 0 or decided.winner == 0


def test_a_member_that_scores_on_another_level_is_compared_with_itself() -> None:
    members = members_of(scored_world())
    members[0].distortion = lambda _, scores: Scores(scores.slate, tuple(value + 10**9 for value in scores.values))
    members[1].distortion = lambda _, scores: Scores(scores.slate, tuple(value - 10**9 for value in scores.values))
    generation(members, 1)
    (decided,) = members[0].decided
    assert all(entry.agreed_fitness == entry.measured_fitness for entry in decided.slate)
    assert decided.slate[0].agreed_fitness == 0 < decided.slate[decided.winner].agreed_fitness


def test_where_nothing_improves_the_version_moves_on_without_a_change() -> None:
    members = members_of(scored_world())
    for member in members:
        member.distortion = lambda _, scores: Scores(scores.slate, (0,) * len(scores.values))
    before = members[0].model
    first = generation(members, 1)
    after = members[0].model
    assert (after.height, after.parameters) == (1, before.parameters)
    assert after.state_digest != before.state_digest
    assert members[0].decided[0].winner == 0
    assert members[0].judged[-1].weights == ()
    assert {GradientOutcome(one.outcome) for one in members[0].judged[-1].judged} == {GradientOutcome.COLLECTED}
    again = generation(members, 3)
    assert not {named(item).payload for item in first} & {named(item).payload for item in again}


# --- what is told ---------------------------------------------------------------------------------------------------


def test_people_are_told_who_put_up_what_and_what_it_was_worth() -> None:
    members = members_of(scored_world())
    generation(members, 1)
    (decided,) = members[1].decided
    quarter = "a quarter of the step"
    assert [(entry.author, entry.label) for entry in decided.slate] == [
        (None, ""),
        *((author, label) for author in FOUR for label in ("", quarter)),
        *((None, label) for name in ("mean", "median") for label in (name, f"{name}, {quarter}")),
    ]
    assert all(entry.claimed_fitness is None and entry.measured_fitness is not None for entry in decided.slate)
    assert decided.scorers == FOUR
    winner = decided.slate[decided.winner]
    parts = FOUR if winner.author is None else (winner.author,)
    assert members[1].judged[-1].weights == tuple((author, 1 / len(parts)) for author in parts)
    assert [one.outcome for one in members[1].judged[-1].judged] == [
        (GradientOutcome.APPLIED if author in parts else GradientOutcome.COLLECTED).value for author in FOUR
    ]


def test_a_copied_gradient_counts_once_for_who_came_first() -> None:
    members = members_of(scored_world())
    (own,), others = members[0].work_until_idle(), [item for member in members[1:3] for item in member.work_until_idle()]
    copy = replace(own, author=FOUR[3])
    members[0].deliver(commit(1, [own, copy, *others]))
    slate = members[0].generations.consensus.slate
    assert slate is not None
    assert len(slate.entries) == 1 + 2 * (3 + 2)
    assert FOUR[3] not in {entry.author for entry in slate.entries}
    for member in members[1:]:
        member.deliver(commit(1, [own, copy, *others]))
    scores = [item for member in members for item in member.work_until_idle()]
    members[0].deliver(commit(2, scores))
    assert members[0].outcomes(FOUR[3]) == [GradientOutcome.COPY]


# --- what is refused ------------------------------------------------------------------------------------------------


def renamed(item: AuthoredPayload, **changes: object) -> AuthoredPayload:
    """The same item with another submission in it."""
    return replace(item, payload=encode_scored(GradientSubmission(**({**_fields(named(item)), **changes}))))  # type: ignore[arg-type]


def _fields(submission: GradientSubmission) -> dict[str, object]:
    return {name: getattr(submission, name) for name in ("base", "base_digest", "payload", "length")}


def with_payload(item: AuthoredPayload, encoded: bytes, shelf: Shelf) -> AuthoredPayload:
    """The same item with another gradient."""
    digest, length = shelf.put(encoded)
    return attached(renamed(item, payload=digest, length=length), (digest, length))


REFUSED: dict[str, tuple[Callable[[AuthoredPayload, Shelf], AuthoredPayload], GradientReport]] = {
    name: (change, GradientReport(author, outcome.value, False, staleness))
    for name, author, change, outcome, staleness in (
        ("junk", FOUR[0], lambda item, _: replace(item, payload=b"junk"), GradientOutcome.MALFORMED, None),
        ("empty", FOUR[0], lambda item, _: replace(item, payload=b""), GradientOutcome.MALFORMED, None),
        ("no attachment", FOUR[0], lambda item, _: replace(item, attached=()), GradientOutcome.MALFORMED, 0),
        ("another length", FOUR[0], lambda item, _: renamed(item, length=3), GradientOutcome.MALFORMED, 0),
        ("no gradient", FOUR[0], lambda item, shelf: with_payload(item, b"\x10junk", shelf), GradientOutcome.MALFORMED, 0),
        ("infinite", FOUR[0], lambda item, shelf: with_payload(item, _infinite(), shelf), GradientOutcome.MALFORMED, 0),
        ("future", FOUR[0], lambda item, _: renamed(item, base=9), GradientOutcome.FUTURE_BASE, None),
        ("unknown", FOUR[0], lambda item, _: renamed(item, base_digest=bytes(32)), GradientOutcome.UNKNOWN_BASE, None),
        (
            "other generation",
            FOUR[0],
            lambda item, _: replace(renamed(item, base=9), base=bytes(32)),
            GradientOutcome.FUTURE_BASE,
            None,
        ),
        ("outsider", OBSERVER, lambda item, _: replace(item, author=OBSERVER), GradientOutcome.NOT_A_WORKER, 0),
    )
}


def _infinite() -> bytes:
    encoded = bytearray(encoded_gradient(1.0))
    encoded[1] = 255
    return bytes(encoded)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_told_and_leaves_its_author_another_try(name: str) -> None:
    change, told = REFUSED[name]
    world = scored_world()
    members = members_of(world)
    (item,) = members[0].work_until_idle()
    members[1].deliver(commit(1, [change(item, world.shelf)]))
    assert [judged.judged for judged in members[1].judged] == [(told,)]
    members[1].deliver(commit(2, [item]))
    assert [judged.judged for judged in members[1].judged] == [(told,)]
    (waits,) = [answer for answer in members[1].answers if isinstance(answer, GenerationWaits)]
    assert (waits.phase, waits.counted, waits.needed) == (Phase.CANDIDATES, (FOUR[0],), 3)


def test_second_and_late_gradients_are_refused_and_old_ones_are_stale() -> None:
    world = scored_world()
    attacker = Attacker(lambda own: (own, -own))
    members = [ScoredMember(world, FOUR[0], conduct=attacker), *(ScoredMember(world, author) for author in FOUR[1:])]
    first, second = members[0].work_until_idle()
    (late,) = members[3].work_until_idle()
    others = [item for member in members[1:3] for item in member.work_until_idle()]
    for member in members:
        member.deliver(commit(1, [first, second, *others]), commit(2, [late]))
    scores = [item for member in members for item in member.work_until_idle()]
    members[0].deliver(commit(3, scores), commit(4, [late]))
    assert members[0].outcomes(FOUR[3]) == [GradientOutcome.LATE, GradientOutcome.STALE]
    assert members[0].outcomes(FOUR[0])[0] is GradientOutcome.REPEATED
    assert [one.staleness for one in members[0].judged[-1].judged] == [1]


def test_scores_that_count_for_nothing_are_no_gradients() -> None:
    member = ScoredMember(scored_world(), FOUR[0])
    member.deliver(commit(1, [signed(FOUR[1], GENESIS, encode_scored(Scores(bytes(32), (0,))))]))
    assert member.answers == [StepApplied(1)]


def test_a_payload_that_is_not_held_stops_the_node() -> None:
    world = scored_world()
    (item,) = ScoredMember(world, FOUR[0]).work_until_idle()
    elsewhere = ScoredMember(replace(world, shelf=Shelf()), FOUR[1])
    with pytest.raises(PayloadMissingError, match="was delivered, but is not held"):
        elsewhere.deliver(commit(1, [item]))


def test_who_has_nothing_to_submit_gives_up_until_the_next_model() -> None:
    world = scored_world()
    silent = ScoredMember(world, FOUR[0], conduct=Attacker(ATTACKS["silent"]))
    slices = 0
    while silent.learner.is_searching:
        assert [answer for answer in silent.learner.search() if not isinstance(answer, OwnPartDue)] == []
        slices += 1
    assert slices == FRUITLESS_MAX + 1  # the last one measures the agreed model
    others = [ScoredMember(world, author) for author in FOUR[1:]]
    everybody = [silent, *others]
    generation(everybody, 1)
    assert [member.model.height for member in everybody] == [1] * 4
    assert silent.learner.is_searching


# --- restart --------------------------------------------------------------------------------------------------------


def run_long(liars: int = 0) -> Order:
    return run(members_of(scored_world(), liars, ATTACKS["several"]), LONG)


def test_states_are_kept_after_the_same_commits_by_all() -> None:
    members = run_long(liars=1).members
    assert [(kept.commit, kept.checkpoint) for kept in members[0].kept] == [(64, 1), (128, 2), (192, 3)]
    assert [member.kept for member in members[1:]] == [members[0].kept] * 3


@pytest.mark.slow
def test_a_restart_in_any_phase_of_a_generation_comes_to_the_same_state_and_goes_on() -> None:
    phases = set()
    for seed in range(12):
        order = run(members_of(scored_world()), 70, seed)
        member: ScoredMember = order.members[1]
        (kept,) = member.kept
        shelf = Shelf()  # what was delivered before is forgotten
        after = order.log[kept.commit :]
        for step in after:
            for digest, _ in (large for item in step.items for large in item.attached):
                shelf.put(member.shelf.payload(digest) or b"")
        again = ScoredMember(replace(scored_world(), shelf=shelf), FOUR[1], restored=kept)
        waits = again.learner.handle(RestoreRequest(kept))[1]
        assert isinstance(waits, GenerationWaits)
        phases.add((waits.phase, len(waits.counted)))
        again.deliver(*order.log)  # what the state already holds is passed over
        assert again.model == member.model
        tail = len(agreed(again))
        assert agreed(again) == agreed(member)[len(agreed(member)) - tail :] or _but_ignored(again, member)
    assert {phase for phase, _ in phases} == {Phase.CANDIDATES, Phase.SCORES}
    assert any(count > 0 for _, count in phases)


def _but_ignored(again: ScoredMember, member: ScoredMember) -> bool:
    """What was ignored before the restart is not counted after it."""
    first, *rest = again.decided
    same = member.decided[len(member.decided) - len(again.decided) :]
    return (replace(first, ignored=()), [one.step for one in rest]) == (
        replace(same[0], ignored=(), slate=first.slate),
        [one.step for one in same[1:]],
    )


def test_a_restart_does_not_submit_again_what_was_delivered() -> None:
    world = scored_world()
    members = members_of(world)
    gradients = [item for member in members for item in member.work_until_idle()]
    members[0].deliver(commit(1, gradients))
    scores = members[0].work_until_idle()
    again = ScoredMember(world, FOUR[0])
    again.deliver(commit(1, gradients), commit(2, scores))
    assert again.work_until_idle() == []
    undelivered = ScoredMember(world, FOUR[0])
    undelivered.deliver(commit(1, gradients))
    assert undelivered.work_until_idle() == scores


def test_who_comes_late_goes_on_from_a_state_of_another() -> None:
    order = run_long()
    donor: ScoredMember = order.members[0]
    late = ScoredMember(scored_world(), FOUR[3])
    late.shelf.held = donor.shelf.held
    adopted, waits, _ = late.learner.handle(RestoreRequest(donor.kept[-1]))
    assert isinstance(adopted, StepAdopted)
    assert isinstance(waits, GenerationWaits)
    assert (adopted.step, adopted.height) == (donor.kept[-1].step, donor.kept[-1].height) == (waits.generation, waits.height)
    late.deliver(*order.log)
    assert late.model == donor.model
    order.replace(3, late)
    order.run(40)
    assert late.model == donor.model
    assert late.outcomes(FOUR[3])


@pytest.mark.parametrize("held", [slice(0), slice(-1)])
def test_a_stored_generation_that_is_none_is_named(held: slice) -> None:
    kept = run_long().members[0].kept[0]
    with pytest.raises(StoredStateError, match="no generation of scored steps"):
        ScoredMember(scored_world(), FOUR[0], restored=replace(kept, memory=kept.memory[held]))


# --- what is agreed -------------------------------------------------------------------------------------------------


def test_the_agreed_lead_is_the_lower_median_of_the_members_leads() -> None:
    members = members_of(scored_world())
    members[3].distortion = favours(FOUR[3])
    gradients = [item for member in members for item in member.work_until_idle()]
    for member in members:
        member.deliver(commit(1, gradients))
    scores = [item for member in members for item in member.work_until_idle()]
    members[0].deliver(commit(2, scores))
    said = [decode_scored(item.payload, ENTRIES_MAX) for item in scores]
    rows = [[value - one.values[0] for value in one.values] for one in said if isinstance(one, Scores)]
    assert [entry.agreed_fitness for entry in members[0].decided[0].slate] == [
        lower_median(column) for column in zip(*rows, strict=True)
    ]
