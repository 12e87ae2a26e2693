"""Submissions as bytes: one value, one encoding; anything else says what is wrong.

What stands on a slate follows from the gradients alone: an obvious twin, whatever their order.
A generation under way as bytes: it comes back in any phase, and what does not fit is named.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.aggregation.quantised import QuantisedGradient, decode_gradient, quantise
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.gradient.ledger import GRADIENT_BYTES_MAX, VERSION_MAX, GradientSubmission
from learning.gradient.rules import LEARNING_RATE_MAX
from learning.gradient.scored_slate import (
    MEMBERS_MAX,
    STEP_SHARES,
    Move,
    StepCandidacy,
    StepEntry,
    StepRules,
    decode_scored,
    encode_scored,
)
from learning.learner import AuthoredPayload
from learning.model_consensus.slate import Ignored, MalformedPayloadError, ModelConsensus, Scores, Slate
from learning.state import ModelState, state_digest
from learning.task import Float32Array
from tests.learning.following.line_world import Shelf
from tests.learning.gradient.tiny import LAYOUT, gradient_of, vector_of, worker

digests = st.binary(min_size=32, max_size=32)
submissions = st.builds(
    GradientSubmission,
    base=st.integers(0, VERSION_MAX),
    base_digest=digests,
    payload=digests,
    length=st.integers(1, GRADIENT_BYTES_MAX),
)
rows = st.builds(
    Scores, slate=digests, values=st.lists(st.integers(FITNESS_LOWEST, FITNESS_MAX), min_size=1, max_size=9).map(tuple)
)


@given(submission=submissions | rows)
def test_a_submission_comes_back(submission: GradientSubmission | Scores) -> None:
    assert decode_scored(encode_scored(submission), 9) == submission


@given(data=st.binary(max_size=100) | submissions.map(encode_scored).flatmap(lambda data: st.binary().map(lambda t: data + t)))
def test_whatever_decodes_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        submission = decode_scored(data, 9)
    except MalformedPayloadError:
        return
    assert encode_scored(submission) == data


def test_the_bytes_are_those_of_the_first_release() -> None:
    assert encode_scored(Scores(b"s" * 32, (1, -2))).hex() == "0201" + "73" * 32 + "0200" + "01" + "00" * 7 + "fe" + "ff" * 7
    submission = GradientSubmission(5, b"b" * 32, b"p" * 32, 300)
    assert encode_scored(submission).hex() == "039405c420" + "62" * 32 + "c420" + "70" * 32 + "cd012c"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "kind of submission is missing, allowed 02"),
        (b"\x01abc", "kind of submission is 01, allowed 02"),
        (b"\x03abc", "3 bytes that name no gradient"),
        (encode_scored(GradientSubmission(5, b"b" * 32, b"p" * 32, 300)) + b"x", "74 bytes that name no gradient"),
        (b"\x02" + bytes(34), "scores of 34 bytes, allowed 43 or more"),
        (encode_scored(Scores(b"s" * 32, (0,) * 10)), "scores hold 10 values, allowed 1..9"),
    ],
)
def test_a_malformed_submission_names_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(MalformedPayloadError, match=message):
        decode_scored(data, 9)


GENERATION = b"G" * 32
PAYLOAD_BYTES_MAX = 4_096
"""Of `consensus.steps`, which the rooms of learning do not import."""

LARGEST = float(np.finfo(np.float32).max)
MODEL = ModelState(vector_of([1.0, -1.0, 0.5]), 7)
RATE = np.float32(0.5)

coordinates = st.integers(-9, 9).map(lambda value: value / 4) | st.floats(-1e6, 1e6, width=32)
vectors = st.lists(coordinates, min_size=3, max_size=3)


class Booth:
    """A consensus of members that deliver gradients, each known by its place."""

    def __init__(self, members: int, model: ModelState = MODEL, learning_rate: np.float32 = RATE) -> None:
        self.shelf = Shelf()
        self.model = model
        self.rules = StepRules(learning_rate, LAYOUT, members)
        self.candidacy = StepCandidacy(self.rules, model, state_digest(model), self.shelf)
        self.consensus = ModelConsensus(tuple(worker(place) for place in range(members)), GENERATION, self.candidacy)

    def deliver(self, place: int, gradient: QuantisedGradient) -> Ignored | None:
        digest, length = self.shelf.put(gradient.encoded)
        named = GradientSubmission(self.model.height, state_digest(self.model), digest, length)
        return self.consensus.deliver(
            AuthoredPayload(bytes(32), worker(place), GENERATION, encode_scored(named), ((digest, length),))
        )

    def closed(self) -> Slate[StepEntry]:
        slate = self.consensus.end_of_commit()
        assert isinstance(slate, Slate)
        return slate


def slate_of(values: Sequence[Sequence[float]]) -> tuple[Booth, Slate[StepEntry]]:
    booth = Booth(len(values))
    assert [booth.deliver(place, gradient_of(one)) for place, one in enumerate(values)] == [None] * len(values)
    return booth, booth.closed()


def twin(values: Sequence[Sequence[float]]) -> list[list[float]]:
    """The slate's models: numbers of one coordinate at a time."""
    distinct: list[list[np.float32]] = []
    for one in values:
        dense = list(gradient_of(one).dense())
        if dense not in distinct:
            distinct.append(dense)
    columns = [sorted(column) for column in zip(*distinct, strict=True)]
    count = len(distinct)
    middle = [column[(count - 1) // 2 : count // 2 + 1] for column in columns]
    directions = [*distinct, [_mean(column) for column in columns], [_mean(column) for column in middle]]
    models = [[float(value) for value in MODEL.parameters]]
    for direction in directions:
        for share in (1.0, 0.25):
            rate = np.float32(0.5 * share)
            model = [float(theta - rate * part) for theta, part in zip(MODEL.parameters, direction, strict=True)]
            if model not in models:
                models.append(model)
    return models


def _mean(column: Sequence[np.float32]) -> np.float32:
    total = column[0]
    for value in column[1:]:
        total = np.float32(total + value)
    return np.float32(total / np.float32(len(column)))


def parameters_of(booth: Booth, slate: Slate[StepEntry]) -> list[Float32Array]:
    return [booth.candidacy.state(entry).parameters for entry in slate.entries]


def test_junk_of_one_author_is_read_once_in_a_commit() -> None:
    booth = Booth(4)
    digest, length = booth.shelf.put(b"junk")
    named = encode_scored(GradientSubmission(MODEL.height, state_digest(MODEL), digest, length))
    item = AuthoredPayload(bytes(32), worker(3), GENERATION, named, ((digest, length),))
    reasons = [booth.consensus.deliver(item) for _ in range(8)]
    assert reasons == [Ignored.MALFORMED] + [Ignored.SECOND_CANDIDATE] * 7
    assert booth.shelf.reads == 1
    assert booth.deliver(2, gradient_of([1.0, 2.0, 3.0])) is None
    booth.consensus.end_of_commit()
    assert booth.deliver(3, gradient_of([1.0, 2.0, 3.0])) is None, "in the next commit it may put up something better"


@pytest.mark.slow
@given(values=st.lists(vectors, min_size=1, max_size=9))
def test_the_slate_holds_what_the_twin_computes_one_number_at_a_time(values: list[list[float]]) -> None:
    booth, slate = slate_of(values)
    assert [[float(value) for value in model] for model in parameters_of(booth, slate)] == twin(values)


@given(values=st.lists(vectors, min_size=1, max_size=9))
def test_every_entry_is_named_by_the_state_that_it_leads_to(values: list[list[float]]) -> None:
    booth, slate = slate_of(values)
    assert [state_digest(booth.candidacy.state(entry)) for entry in slate.entries] == [entry.digest for entry in slate.entries]
    assert {booth.candidacy.state(entry).height for entry in slate.entries} == {8}


@given(values=st.lists(vectors, min_size=1, max_size=9), data=st.data())
def test_the_order_of_delivery_changes_the_order_of_the_slate_alone(values: list[list[float]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(values))
    digests = [{entry.digest for entry in slate_of(some)[1].entries} for some in (values, shuffled)]
    assert digests[0] == digests[1]


@given(values=st.lists(vectors, min_size=1, max_size=9))
def test_a_step_lies_between_the_model_and_the_largest_gradients(values: list[list[float]]) -> None:
    """Nobody can put up a model that is no step of somebody's gradient, nor a mean beyond all of them."""
    booth, slate = slate_of(values)
    dense = np.stack([gradient_of(one).dense() for one in values])
    ends = [MODEL.parameters, *(MODEL.parameters - RATE * one for one in (dense.min(axis=0), dense.max(axis=0)))]
    slack = np.float32(1e-5) * np.maximum(np.float32(1), np.abs(np.stack(ends)).max(axis=0))
    for model in parameters_of(booth, slate):
        assert (model >= np.min(ends, axis=0) - slack).all()
        assert (model <= np.max(ends, axis=0) + slack).all()


def test_identical_gradients_count_once_in_the_mean_too() -> None:
    booth, slate = slate_of([[1, 2, 3]] * 3 + [[5, 2, -1]])
    own = [entry for entry in slate.entries if entry.move is Move.OWN]
    assert [entry.authors for entry in own] == [(worker(0),)] * 2 + [(worker(3),)] * 2
    (mean, _) = (entry for entry in slate.entries if entry.move is Move.MEAN)
    assert mean.authors == (worker(0), worker(3))
    np.testing.assert_array_equal(booth.candidacy.state(mean).parameters, MODEL.parameters - RATE * vector_of([3, 2, 1]))
    assert booth.consensus.counted == ()
    assert tuple(booth.consensus.candidates) == tuple(worker(place) for place in range(4))


def test_the_same_numbers_in_fewer_bits_are_no_gradient_of_this_network() -> None:
    booth = Booth(3)
    narrow = quantise(vector_of([1, 2, 3]), LAYOUT, 8)
    assert narrow is not None
    assert booth.deliver(0, narrow) is Ignored.MALFORMED
    booth.consensus.end_of_commit()
    assert [booth.deliver(place, gradient_of([1, 2, 3])) for place in (0, 1)] == [None] * 2


def test_a_gradient_of_zeros_is_no_change() -> None:
    _, slate = slate_of([[0, 0, 0], [-0.0, 0, 0]])
    assert [(entry.move, entry.label) for entry in slate.entries] == [(Move.NONE, "")]


def test_two_gradients_have_one_mean_and_median() -> None:
    _, slate = slate_of([[1, 0, 0], [0, 1, 0]])
    assert [entry.move for entry in slate.entries] == [Move.NONE, *[Move.OWN] * 4, *[Move.MEAN] * 2]


def test_labels_tell_what_the_author_does_not() -> None:
    _, slate = slate_of([[1, 2, 3], [2, 3, 1], [7, 1, 5]])
    quarter = "a quarter of the step"
    assert [(entry.author, entry.label) for entry in slate.entries] == [
        (None, ""),
        *((worker(place), label) for place in range(3) for label in ("", quarter)),
        *((None, label) for name in ("mean", "median") for label in (name, f"{name}, {quarter}")),
    ]


@given(
    theta=st.lists(st.sampled_from([LARGEST, -LARGEST, 0.0]), min_size=3, max_size=3),
    values=st.lists(st.lists(st.sampled_from([3e23, -3e23, 0.0]), min_size=3, max_size=3), min_size=1, max_size=9),
)
def test_the_largest_steps_from_the_largest_models_are_finite(theta: list[float], values: list[list[float]]) -> None:
    booth = Booth(len(values), ModelState(vector_of(theta), 7), np.float32(LEARNING_RATE_MAX))
    for place, one in enumerate(values):
        assert booth.deliver(place, gradient_of(one)) is None
    assert all(np.isfinite(model).all() for model in parameters_of(booth, booth.closed()))


def test_the_scores_of_the_largest_slate_fit_a_payload() -> None:
    largest = StepRules(RATE, LAYOUT, MEMBERS_MAX).entries_max
    assert largest == 1 + len(STEP_SHARES) * (MEMBERS_MAX + 2) == 507
    assert len(encode_scored(Scores(bytes(32), (0,) * largest))) <= PAYLOAD_BYTES_MAX
    with pytest.raises(AssertionError, match="252 members"):
        StepRules(RATE, LAYOUT, MEMBERS_MAX + 1)


@given(values=st.lists(vectors, min_size=1, max_size=9))
def test_no_slate_holds_more_than_its_scores_may(values: list[list[float]]) -> None:
    booth, slate = slate_of(values)
    entries_max = StepRules(RATE, LAYOUT, len(values)).entries_max
    assert len(slate.entries) <= entries_max
    row = Scores(slate.digest, (0,) * entries_max)
    assert booth.candidacy.read(encode_scored(row)) == row
    with pytest.raises(MalformedPayloadError, match=f"scores hold {entries_max + 1} values, allowed 1..{entries_max}"):
        booth.candidacy.read(encode_scored(Scores(slate.digest, (0,) * (entries_max + 1))))


@given(values=vectors, share=st.sampled_from(STEP_SHARES))
def test_the_product_of_rate_and_share_is_exact(values: list[float], share: float) -> None:
    """So the two step sizes are one learning rate's, whatever it is: 16 significant bits and a power of two."""
    rate = np.float32(0.029998779296875)
    assert Fraction(float(np.float32(share) * rate)) == Fraction(share) * Fraction(float(rate))
    assert decode_gradient(gradient_of(values).encoded, LAYOUT, 16) == gradient_of(values)
