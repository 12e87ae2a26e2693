"""Functions of points and scores of candidates are tasks like any other."""

import numpy as np
import pytest

from learning.task import Float32Array, Float64Array, ParameterBlock, TaskError
from learning.task_check import check_task
from learning.tasks.black_box import BlackBoxTask, ScoreTask, rosenbrock, rosenbrock_value


def test_rosenbrocks_valley_has_its_known_values() -> None:
    points = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [-1.0, 1.0, 2.0]])
    assert rosenbrock_value(points).tolist() == [0.0, 2.0, 104.0]
    task = check_task(rosenbrock())
    best = np.ones(10, dtype=np.float32)
    assert task.fitness(best, task.draw_batch(b"")) == 0.0
    assert task.metrics(best) == {"value": 0.0}


def test_lower_values_score_higher_in_float64() -> None:
    seen: list[np.dtype[np.generic]] = []

    def function(points: Float64Array) -> Float64Array:
        seen.append(points.dtype)
        return points.sum(axis=1)

    task = BlackBoxTask("sum", 2, function)
    batch = task.draw_batch(b"")
    assert task.layout == (ParameterBlock("point", (2,), 0),)
    assert task.scores(np.array([[1, 2], [0, 1]], dtype=np.float32), batch).tolist() == [-3.0, -1.0]
    assert seen == [np.dtype(np.float64)]


def test_name_dimension_start_and_version_are_in_the_digest() -> None:
    tasks = [
        BlackBoxTask("a", 2, rosenbrock_value),
        BlackBoxTask("b", 2, rosenbrock_value),
        BlackBoxTask("a", 3, rosenbrock_value),
        BlackBoxTask("a", 2, rosenbrock_value, start_radius=1),
        BlackBoxTask("a", 2, rosenbrock_value, version=2),
    ]
    assert len({task.data_digest for task in tasks}) == len(tasks)


def test_a_wrong_shape_and_a_wrong_dimension_are_named() -> None:
    task = BlackBoxTask("flat", 2, lambda points: points)
    with pytest.raises(TaskError, match=r"task 'flat': function gave shape \(3, 2\), expected \(3,\)"):
        task.scores(np.zeros((3, 2), dtype=np.float32), task.draw_batch(b""))
    with pytest.raises(TaskError, match=r"task 'none': dimension 0, start_radius 0; allowed: 1 or more, 0 or 1"):
        BlackBoxTask("none", 0, rosenbrock_value)


def test_a_score_of_ones_own_is_asked_for_one_candidate_at_a_time() -> None:
    asked: list[list[float]] = []

    def score(parameters: Float32Array) -> float:
        asked.append(parameters.tolist())
        return float(parameters[0])

    task = ScoreTask("own", (ParameterBlock("w", (2,), 1),), score, bytes(32))
    scores = task.scores(np.array([[3, 4], [5, 6]], dtype=np.float32), task.draw_batch(b""))
    assert (scores.tolist(), asked) == ([3.0, 5.0], [[3.0, 4.0], [5.0, 6.0]])
    check_task(task)


def test_a_value_that_is_no_number_is_found_by_the_check() -> None:
    with pytest.raises(TaskError, match="task 'hollow': scores of a first model is nan, expected a finite number"):
        check_task(BlackBoxTask("hollow", 2, lambda points: np.full(len(points), np.nan)))
