"""What a peer remembers of its models' figures: from the start until now, bounded."""

import math
from itertools import pairwise

from node.api.learning_curve import POINTS_MAX, LearningCurve
from node.common.sparkline import SPARK_WIDTH


def test_figures_are_kept_by_name_and_what_is_no_number_is_left_out() -> None:
    curve = LearningCurve()
    curve.note(0, -math.inf, {"test_accuracy": 0.1})
    curve.note(1, -2.0, {"test_accuracy": 0.3, "late": 7.0})
    curve.note(2, -1.0, {"test_accuracy": 0.5})
    assert curve.figures == {"fitness": (-2.0, -1.0), "late": (7.0,), "test_accuracy": (0.1, 0.3, 0.5)}


def test_a_model_that_is_no_higher_is_left_out() -> None:
    curve = LearningCurve()
    for height, fitness in ((0, -3.0), (5, -2.0), (4, -9.0), (5, -8.0), (6, -1.0)):
        curve.note(height, fitness, {})
    assert curve.figures == {"fitness": (-3.0, -2.0, -1.0)}


def test_a_run_of_any_length_is_remembered_evenly_from_its_start_in_bounded_space() -> None:
    curve = LearningCurve()
    heights = 40 * POINTS_MAX
    for height in range(heights):
        curve.note(height, float(height), {})
        assert len(curve._points) <= POINTS_MAX
    values = curve.figures["fitness"]
    assert len(values) == SPARK_WIDTH
    gaps = [after - before for before, after in pairwise(values)]
    assert max(gaps) < 1.5 * min(gaps)
    assert values[0] < heights / 10
    assert values[-1] > 0.95 * heights


def test_nothing_is_told_before_there_is_a_model() -> None:
    assert LearningCurve().figures == {}
