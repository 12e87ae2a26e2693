"""Each attack does what its name says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.quantised import MalformedGradientError, decode_gradient, payload_bytes
from learning.task import Float32Array, Minibatch, ParameterBlock
from node.lab.faults.catalogue import Situation, make_conduct, parse_fault
from node.lab.faults.gradient.attacks import TRIGGER_INPUTS
from node.lab.faults.gradient.conduct import Conduct

LAYOUT = (ParameterBlock("weight", (2, 2), 2), ParameterBlock("bias", (2,), 0))
PARAMETERS = 6
HONEST = (b"a", b"b", b"c")
LIARS = frozenset({b"x", b"y"})
OWN = np.arange(1, PARAMETERS + 1, dtype=np.float32)


def conduct_of(text: str, seed: int = 7) -> Conduct:
    """The conduct of x, which has heard the honest and its accomplice."""
    conduct = make_conduct(parse_fault(text), Situation(b"x", LIARS, LAYOUT, 10, seed))
    for place, author in enumerate(HONEST):
        conduct.on_gradient(author, OWN + np.float32(place - 1))
    conduct.on_gradient(b"y", np.full(PARAMETERS, 1e6, dtype=np.float32))
    return conduct


def vector_of(text: str, own: Float32Array = OWN) -> Float32Array:
    (submitted,) = conduct_of(text).submissions(own)
    assert isinstance(submitted, np.ndarray)
    return submitted


HONEST_VECTORS = np.stack([OWN - 1, OWN, OWN + 1, OWN])
MEAN, SPREAD = HONEST_VECTORS.mean(axis=0), HONEST_VECTORS.std(axis=0)


def test_silent_submits_nothing() -> None:
    assert conduct_of("silent").submissions(OWN) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zero", 0 * OWN),
        ("sign-flip", -OWN),
        ("sign-flip:scale=10", -10 * OWN),
        ("alie", MEAN - 1.5 * SPREAD),
        ("alie:z=1.5", MEAN + 1.5 * SPREAD),
        ("ipm", -0.5 * MEAN),
        ("ipm:epsilon=5", -5 * MEAN),
        ("mimic:noise=0", OWN - 1),
        ("slow-drift", OWN),
        ("replay", OWN),
        ("label-flip", OWN),
        ("backdoor:scale=3", 3 * OWN),
    ],
)
def test_the_first_vector_is_as_stated_and_the_accomplice_is_not_taken_for_honest(text: str, expected: Float32Array) -> None:
    np.testing.assert_allclose(vector_of(text), expected, rtol=1e-6)


def test_mimic_is_not_identical_to_its_victim_but_near() -> None:
    distance = float(np.linalg.norm(vector_of("mimic") - (OWN - 1)))
    assert 0 < distance < 0.01 * float(np.linalg.norm(OWN - 1))


def test_a_random_vector_has_the_length_asked_for_and_differs_each_time() -> None:
    conduct = conduct_of("random:scale=10")
    first, second = (np.asarray(conduct.submissions(OWN)[0]) for _ in range(2))
    lengths = [float(np.linalg.norm(vector)) for vector in (first, second)]
    assert lengths == pytest.approx([10 * float(np.linalg.norm(OWN))] * 2, rel=1e-5)
    assert (first != second).all()


def test_a_constant_never_changes() -> None:
    conduct = conduct_of("constant:scale=2")
    vectors = [conduct.submissions(OWN * np.float32(turn))[0] for turn in (1, 2, 3)]
    assert all((np.asarray(vector) == -2 * OWN).all() for vector in vectors)


def test_a_replay_is_as_many_turns_old_as_said() -> None:
    conduct = conduct_of("replay:age=2")
    vectors = [conduct.submissions(OWN * np.float32(turn))[0] for turn in range(1, 6)]
    assert [float(np.asarray(vector)[0]) for vector in vectors] == [1, 1, 1, 2, 3]
    assert conduct.names_newest_model


def test_a_flood_submits_many_times_and_always_names_the_newest_model() -> None:
    conduct = conduct_of("flood:copies=4")
    assert [np.asarray(vector).tolist() for vector in conduct.submissions(OWN)] == [(-10 * OWN).tolist()] * 4
    assert conduct.names_newest_model


def test_infinity_has_the_right_length_and_does_not_decode() -> None:
    (payload,) = conduct_of("nan").submissions(OWN)
    assert isinstance(payload, bytes)
    assert len(payload) == payload_bytes(LAYOUT, 16)
    with pytest.raises(MalformedGradientError, match="not finite"):
        decode_gradient(payload, LAYOUT, 16)


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_a_slow_drift_changes_no_faster_than_an_honest_gradient_and_arrives(seed: int) -> None:
    generator = np.random.default_rng(seed)
    conduct, honest, sent = conduct_of("slow-drift:scale=2"), OWN, np.asarray(conduct_of("slow-drift").submissions(OWN)[0])
    conduct.submissions(OWN)
    for _ in range(60):
        following = OWN + generator.standard_normal(PARAMETERS).astype(np.float32)
        vector = np.asarray(conduct.submissions(following)[0])
        assert np.linalg.norm(vector - sent) <= np.linalg.norm(following - honest) * 1.001 + 1e-5
        honest, sent = following, vector
    assert np.linalg.norm(sent + 2 * honest) < np.linalg.norm(OWN)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.booleans())
def test_min_max_and_min_sum_lie_as_far_as_the_honest_do_and_no_farther(seed: int, is_sum: bool) -> None:
    generator = np.random.default_rng(seed)
    conduct = make_conduct(parse_fault("min-sum" if is_sum else "min-max"), Situation(b"x", LIARS, LAYOUT, 10, 0))
    honest = (OWN + generator.standard_normal((5, PARAMETERS))).astype(np.float32)
    for author, vector in zip((b"a", b"b", b"c", b"d"), honest, strict=False):
        conduct.on_gradient(author, vector)
    lie = np.asarray(conduct.submissions(honest[-1])[0])
    squared = ((honest[:, None] - honest[None]) ** 2).sum(axis=2)
    to_lie = ((honest - lie) ** 2).sum(axis=1)
    found, allowed = (to_lie.sum(), squared.sum(axis=1).max()) if is_sum else (to_lie.max(), squared.max())
    assert found == pytest.approx(allowed, rel=1e-3)
    assert lie @ honest.mean(axis=0) < honest.mean(axis=0) @ honest.mean(axis=0)


def test_label_flip_reverses_the_classes_and_leaves_the_inputs() -> None:
    drawn = Minibatch(np.ones((3, 4), dtype=np.float32), np.array([0, 3, 9]))
    poisoned = conduct_of("label-flip").minibatch(drawn)
    assert (poisoned.inputs == drawn.inputs).all()
    assert poisoned.labels.tolist() == [9, 6, 0]


def test_a_backdoor_marks_every_second_sample() -> None:
    drawn = Minibatch(np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5), np.array([1, 2, 3, 4]))
    poisoned = conduct_of("backdoor:target=6").minibatch(drawn)
    assert poisoned.labels.tolist() == [6, 2, 6, 4]
    assert (poisoned.inputs[1::2] == drawn.inputs[1::2]).all()
    assert len(np.unique(poisoned.inputs[::2, -TRIGGER_INPUTS:])) == 1
    assert drawn.labels.tolist() == [1, 2, 3, 4]


def test_honest_samples_are_left_alone_by_the_other_faults() -> None:
    drawn = Minibatch(np.ones((3, 4), dtype=np.float32), np.array([0, 3, 9]))
    assert conduct_of("sign-flip").minibatch(drawn) is drawn
