"""Members of a total order judge one stream of gradients: they hold one state after every commit, whatever liars submit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.rule import GradientOutcome
from learning.gradient.ledger import GradientSubmission, PayloadMissingError, decode_submission, encode_submission
from learning.gradient.rules import GradientRules
from learning.learner import (
    AdoptRequest,
    AuthoredPayload,
    RestoreRequest,
    StateKept,
)
from learning.task import Minibatch
from learning.tasks.digits import digits_mlp
from node.lab.faults.gradient.conduct import HonestConduct
from tests.learning.evolution.exchange import GENESIS
from tests.learning.following.line_world import Order, Shelf, attached, commit, commit_id, signed
from tests.learning.gradient.quadratic import encoded_gradient, submitted
from tests.learning.gradient.scored_order import Attacker
from tests.learning.gradient.stream import FOUR, Member, World, quadratic_world, seven_of_ten

RULES = ("mean", "dampened", "kardam", "buffered")
LONG = 200
"""Commits: three kept states."""


def members_of(world: World, count: int = 4) -> list[Member]:
    return [Member(world, author) for author in world.members[:count]]


def run(world: World, commits: int, seed: int = 1) -> Order:
    order = Order(members_of(world), seed, seven_of_ten)
    order.run(commits)
    return order


def restored_state(member: Member) -> StateKept:
    assert member.kept, "no state was kept"
    return member.kept[-1]


# --- agreement ------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), rule=st.sampled_from(RULES), commits=st.integers(1, 30))
def test_members_agree_whenever_they_search_and_however_commits_are_batched(seed: int, rule: str, commits: int) -> None:
    order = run(quadratic_world(rule), commits, seed)
    first = order.members[0]
    assert {member.digest for member in order.members} == {first.digest}
    assert all(member.answers == first.answers for member in order.members)


def test_members_of_a_long_run_tell_and_keep_the_same() -> None:
    order = run(quadratic_world(), LONG)
    first = order.members[0]
    assert [kept.commit for kept in first.kept] == [64, 128, 192]
    assert [kept.checkpoint for kept in first.kept] == [1, 2, 3]
    assert first.stream.ledger.version > 100
    assert all(member.answers == first.answers for member in order.members)


def test_a_version_is_told_of_by_the_same_step_after_whichever_commit() -> None:
    """Empty commits, and those that move nothing, change neither the step nor its digest."""
    world = quadratic_world()
    order = run(world, 20)
    member = order.members[0]
    before = member.learner.handle(AdoptRequest(GENESIS))
    member.deliver(commit(21, []), commit(22, [signed(FOUR[0], GENESIS, b"junk")]))
    assert member.learner.handle(AdoptRequest(GENESIS)) == before


def test_models_are_measured_once_in_as_many_versions_as_there_are_members() -> None:
    order = run(quadratic_world(), 60)
    versions = [adopted.height for adopted in order.members[0].adopted]
    assert versions == sorted(set(versions))
    assert [version // 4 for version in versions] == sorted({version // 4 for version in versions})
    assert len(versions) > 5


# --- learning -------------------------------------------------------------------------------------------------------


def test_the_model_nears_the_best_point() -> None:
    member = run(quadratic_world(), 100).members[0]
    first, last = member.adopted[0], member.adopted[-1]
    assert last.metrics["distance"] < 0.1 * first.metrics["distance"]
    assert last.fitness > first.fitness


@pytest.mark.slow
def test_four_members_read_nine_digits_of_ten() -> None:
    torch.set_num_threads(1)
    settled = GradientRules("mean", "0.2", "0.9", 32, 16, 200, 8, "whole", 0)
    order = run(World(digits_mlp(), settled, Shelf()), 250)
    assert len(order.members[0].outcomes()) < 700
    assert order.members[0].adopted[-1].metrics["test_accuracy"] > 0.9


# --- restarts and late joiners --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_a_restart_from_any_kept_state_leads_to_the_same(rule: str) -> None:
    world = quadratic_world(rule)
    order = run(world, LONG)
    for kept in order.members[0].kept:
        member = Member(world, FOUR[0], restored=kept)
        member.deliver(*order.log)
        assert member.digest == order.members[0].digest
        assert member.kept == [later for later in order.members[0].kept if later.commit > kept.commit]


# --- our own work ---------------------------------------------------------------------------------------------------


def test_one_gradient_of_ours_is_on_its_way_at_a_time() -> None:
    member = Member(quadratic_world(), FOUR[0])
    (item,) = member.work()
    assert not member.learner.is_searching
    assert member.work() == []
    member.deliver(commit(1, [item]))
    assert member.learner.is_searching


def test_a_gradient_is_computed_on_the_newest_model_and_names_the_newest_commit() -> None:
    world = quadratic_world()
    one, other = members_of(world, 2)
    other.deliver(commit(1, one.work()))
    (item,) = other.work()
    submission = decode_submission(item.payload)
    assert submission is not None
    assert (submission.base, submission.base_digest) == (1, other.stream.ledger.digest)
    assert item.base == commit_id(1)


def test_a_lost_gradient_is_given_up_once_it_would_soon_be_too_old() -> None:
    world = quadratic_world()
    loser, other = members_of(world, 2)
    loser.work()
    for height in range(1, 4):
        assert not loser.learner.is_searching
        step = commit(height, other.work())
        loser.deliver(step)
        other.deliver(step)
    assert loser.stream.ledger.version == world.rules.staleness_max // 2
    assert loser.learner.is_searching


def test_what_was_on_its_way_when_we_went_on_from_a_checkpoint_counts_as_lost() -> None:
    """The model may stand still until it has come: nobody else would make it move."""
    world = quadratic_world()
    order = run(world, LONG)
    member = Member(world, FOUR[0])
    member.deliver(*order.log[:-1])
    member.work()
    assert not member.learner.is_searching
    member.learner.handle(RestoreRequest(restored_state(order.members[0])))
    assert member.learner.is_searching


def test_none_is_computed_on_a_model_that_one_of_ours_was_accepted_for() -> None:
    """Buffered gradients are accepted long before the model moves."""
    member = Member(quadratic_world("buffered"), FOUR[0])
    member.deliver(commit(1, member.work()))
    assert member.outcomes() == [GradientOutcome.COLLECTED]
    assert not member.learner.is_searching


@pytest.mark.parametrize(("author", "is_searching"), [(b"o" * 32, True), (FOUR[0], False)])
def test_an_observer_follows_and_computes_nothing(author: bytes, is_searching: bool) -> None:
    world = quadratic_world()
    order = run(world, 10)
    observer = Member(world, author, is_searching=is_searching)
    observer.deliver(*order.log)
    assert observer.digest == order.members[0].digest
    assert not observer.learner.is_searching
    assert observer.learner.search() == ()


def test_of_a_flood_on_one_model_one_counts() -> None:
    flooder = Member(quadratic_world(), FOUR[0], conduct=Attacker(lambda own: (own, -own, b"junk")))
    items = flooder.work()
    flooder.deliver(commit(1, items[:2]))
    assert not flooder.learner.is_searching
    flooder.deliver(commit(2, items[2:]))
    assert flooder.outcomes() == [GradientOutcome.APPLIED, GradientOutcome.REPEATED, GradientOutcome.REPEATED]
    assert flooder.learner.is_searching


class NeverFinite(HonestConduct):
    """Spoils its own samples."""

    def minibatch(self, minibatch: Minibatch) -> Minibatch:
        return Minibatch(np.full_like(minibatch.inputs, np.nan), minibatch.labels)


def test_a_gradient_that_is_never_finite_waits_for_another_model() -> None:
    world = quadratic_world()
    spoiled, other = Member(world, FOUR[0], conduct=NeverFinite()), Member(world, FOUR[1])
    tries = 0
    while spoiled.learner.is_searching:
        assert spoiled.work() == []
        tries += 1
    assert tries == 8
    spoiled.deliver(commit(1, other.work()))
    assert spoiled.learner.is_searching


# --- liars ----------------------------------------------------------------------------------------------------------


def lies(member: Member) -> dict[str, tuple[AuthoredPayload, GradientOutcome]]:
    """One submission of each wrong kind at version 1, by the third member, and what becomes of it."""
    shelf, liar, ledger = member.shelf, FOUR[2], member.stream.ledger
    good = encoded_gradient(0.5)
    digest, length = shelf.put(good)
    short, short_length = shelf.put(good[:-1])
    honest = submitted(liar, 1, ledger.digest, good, shelf)

    def naming(base: int, base_digest: bytes, payload: bytes = digest, size: int = length) -> AuthoredPayload:
        submission = encode_submission(GradientSubmission(base, base_digest, payload, size))
        return attached(signed(liar, GENESIS, submission), (payload, size))

    return {
        "junk": (signed(liar, GENESIS, b"junk"), GradientOutcome.MALFORMED),
        "empty": (signed(liar, GENESIS, b""), GradientOutcome.MALFORMED),
        "not canonical": (replace(honest, payload=honest.payload + b"\x00"), GradientOutcome.MALFORMED),
        "not attached": (replace(honest, attached=()), GradientOutcome.MALFORMED),
        "attached under another length": (replace(honest, attached=((digest, length + 1),)), GradientOutcome.MALFORMED),
        "too short": (naming(1, ledger.digest, short, short_length), GradientOutcome.MALFORMED),
        "longer than announced": (naming(1, ledger.digest, digest, length - 1), GradientOutcome.MALFORMED),
        "unknown model": (naming(1, bytes(32)), GradientOutcome.UNKNOWN_BASE),
        "model to come": (naming(2, ledger.digest), GradientOutcome.FUTURE_BASE),
        "far future": (naming(2**62, ledger.digest), GradientOutcome.FUTURE_BASE),
        "outsider": (replace(honest, author=b"o" * 32), GradientOutcome.NOT_A_WORKER),
    }


def at_version_one(world: World) -> tuple[Member, Member]:
    one, other = members_of(world, 2)
    step = commit(1, one.work())
    one.deliver(step)
    other.deliver(step)
    return one, other


@pytest.mark.parametrize("lie", sorted(lies(at_version_one(quadratic_world())[0])))
def test_a_lie_changes_nothing_and_is_told_of(lie: str) -> None:
    one, other = at_version_one(quadratic_world())
    before = one.digest
    item, outcome = lies(one)[lie]
    one.deliver(commit(2, [item]))
    other.deliver(commit(2, [item]))
    assert one.outcomes() == other.outcomes() == [GradientOutcome.APPLIED, outcome]
    assert one.digest == other.digest == before


def test_a_model_that_left_the_window_is_too_old() -> None:
    world = quadratic_world()
    member, other = members_of(world, 2)
    old = submitted(FOUR[2], 0, member.stream.ledger.digest, encoded_gradient(0.5), world.shelf)
    for height in range(1, world.rules.staleness_max + 2):
        step = commit(height, other.work())
        member.deliver(step)
        other.deliver(step)
    member.deliver(commit(world.rules.staleness_max + 2, [old]))
    last = member.judged[-1].judged[-1]
    assert (last.outcome, last.staleness, last.is_accepted) == (GradientOutcome.STALE, world.rules.staleness_max + 1, False)


def test_the_second_of_one_author_on_a_model_is_refused() -> None:
    world = quadratic_world()
    member = Member(world, FOUR[0])
    digest = member.stream.ledger.digest
    pair = [submitted(FOUR[1], 0, digest, encoded_gradient(value), world.shelf) for value in (0.5, 0.25)]
    member.deliver(commit(1, pair))
    assert member.outcomes() == [GradientOutcome.APPLIED, GradientOutcome.REPEATED]


def test_one_payload_of_an_author_is_read_in_a_commit_however_many_items_name_it() -> None:
    """On eight models in turn, each newer than the last, so that none repeats another."""
    world = quadratic_world()
    member, other = members_of(world, 2)
    digests = [member.stream.ledger.digest]
    for height in range(1, 8):
        step = commit(height, other.work())
        member.deliver(step)
        other.deliver(step)
        digests.append(member.stream.ledger.digest)
    items = [submitted(FOUR[2], base, digest, encoded_gradient(0.5), world.shelf) for base, digest in enumerate(digests)]
    before = world.shelf.reads
    member.deliver(commit(8, items))
    assert world.shelf.reads == before + 1
    too_old = len(items) - 1 - world.rules.staleness_max
    left = len(items) - 1 - too_old
    assert (
        member.outcomes()[-8:]
        == [GradientOutcome.STALE] * too_old + [GradientOutcome.APPLIED] + [GradientOutcome.CROWDED] * left
    )
    member.deliver(commit(9, items[-1:]))
    assert world.shelf.reads == before + 2


def test_junk_that_eight_items_name_is_read_once() -> None:
    world = quadratic_world()
    member, other = members_of(world, 2)
    ledger = member.stream.ledger
    junk = [submitted(FOUR[2], 0, ledger.digest, b"junk", world.shelf)] * 8
    member.deliver(commit(1, [*junk, *other.work()]))
    assert world.shelf.reads == 2
    assert member.outcomes() == [GradientOutcome.MALFORMED] + [GradientOutcome.CROWDED] * 7 + [GradientOutcome.APPLIED]


def test_a_delivered_payload_that_is_not_held_is_a_broken_promise() -> None:
    member = Member(quadratic_world(), FOUR[0])
    item = submitted(FOUR[1], 0, member.stream.ledger.digest, encoded_gradient(0.5), Shelf())
    with pytest.raises(PayloadMissingError, match="is not held"):
        member.deliver(commit(1, [item]))
