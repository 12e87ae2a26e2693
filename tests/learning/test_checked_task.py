"""What a user's task does wrong ends nobody: the candidate is the worst, the others are measured, and one line says why."""

from collections.abc import Mapping

import numpy as np
import pytest

from learning.asked_task import FaultKind, TaskFault, TaskFaultError
from learning.checked_task import CheckedTask, checked_differentiable, checked_task
from learning.task import DifferentiableTask, Float32Array, Float64Array, Int64Array, Minibatch
from learning.tasks.digits import digits_mlp
from tests.learning.sphere import SphereTask

BATCH = np.arange(3)
PARAMETERS = 20
CHILDREN = np.arange(5 * PARAMETERS, dtype=np.float32).reshape(5, PARAMETERS) / 100
BAD = 2
"""The candidate that the tasks below fail on."""


def is_bad(parameters: Float32Array) -> bool:
    return bool(parameters[0] == CHILDREN[BAD, 0])


class Raising(SphereTask):
    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        if any(is_bad(candidate) for candidate in candidates):
            raise ZeroDivisionError("by zero")
        return super().scores(candidates, batch)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        if is_bad(parameters):
            raise ZeroDivisionError("by zero")
        return super().fitness(parameters, batch)


class Answering(SphereTask):
    """Gives the bad candidate this score, and this fitness."""

    def __init__(self, answer: float) -> None:
        super().__init__()
        self.answer = answer

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        scores = super().scores(candidates, batch)
        scores[[is_bad(candidate) for candidate in candidates]] = self.answer
        return scores

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        return self.answer if is_bad(parameters) else super().fitness(parameters, batch)


class Leaving(SphereTask):
    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        raise SystemExit("leave me alone")


class Single(SphereTask):
    """Cannot do more than two at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        self.sizes.append(len(candidates))
        if len(candidates) > 2:
            raise MemoryError("too many")
        return super().scores(candidates, batch)


class Late(SphereTask):
    """As what watches the time says it of all candidates from this one on."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first, self.asked = first, 0

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        self.asked += 1
        if any(candidate[0] >= CHILDREN[self.first, 0] for candidate in candidates):
            raise TaskFaultError("any", TaskFault("scores", FaultKind.LATE, "took longer than 2 s", "an answer"))
        return super().scores(candidates, batch)


class OfWrongShape(SphereTask):
    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        return super().scores(candidates, batch)[:, None]

    def draw_batch(self, seed: bytes) -> Int64Array:
        return np.zeros((2, 2), dtype=np.int64)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        return {"accuracy": "high"}  # type: ignore[dict-item]  # the fault under test


def others_of(scores: Float64Array) -> list[float]:
    return np.delete(scores, BAD).tolist()


def test_one_candidate_that_raises_does_not_spoil_the_others() -> None:
    task = CheckedTask(Raising())
    scores = task.scores(CHILDREN, BATCH)
    assert scores[BAD] == task.fitness(CHILDREN[BAD], BATCH) == -np.inf
    assert others_of(scores) == pytest.approx(others_of(SphereTask().scores(CHILDREN, BATCH)))
    assert task.faults.count == 2
    assert task.faults.take_untold() == (
        "task 'sphere': scores raised ZeroDivisionError: by zero, expected a float64 vector of 1, one per candidate",
        "task 'sphere': fitness raised ZeroDivisionError: by zero, "
        "expected a finite float within 1.15e+12 of 0, or minus infinity for the worst",
    )


def test_a_fault_is_told_once_and_counted_ever_after() -> None:
    task = CheckedTask(Raising())
    for _ in range(10):
        task.scores(CHILDREN, BATCH)
    assert (len(task.faults.take_untold()), task.faults.take_untold(), task.faults.count) == (1, (), 10)


@pytest.mark.parametrize("answer", [np.nan, np.inf, 2e12, -2e12])
def test_what_is_no_fitness_is_the_worst(answer: float) -> None:
    task = CheckedTask(Answering(answer))
    scores = task.scores(CHILDREN, BATCH)
    assert scores[BAD] == task.fitness(CHILDREN[BAD], BATCH) == -np.inf
    assert others_of(scores) == pytest.approx(others_of(SphereTask().scores(CHILDREN, BATCH)))
    first, _ = task.faults.take_untold()
    assert (
        first
        == f"task 'sphere': scores is {answer}, expected a finite float within 1.15e+12 of 0, or minus infinity for the worst"
    )


def test_minus_infinity_is_a_tasks_own_word_for_the_worst() -> None:
    task = CheckedTask(Answering(-np.inf))
    assert task.scores(CHILDREN, BATCH)[BAD] == task.fitness_if_measured(CHILDREN[BAD], BATCH) == -np.inf
    assert task.faults.count == 0


def test_a_task_that_ends_its_process_is_heard_out() -> None:
    task = CheckedTask(Leaving())
    assert task.fitness_if_measured(CHILDREN[0], BATCH) is None
    assert "fitness raised SystemExit: leave me alone" in task.faults.take_untold()[0]


def test_wrong_shapes_are_the_worst_and_without_a_batch_nothing_is_measured() -> None:
    task = CheckedTask(OfWrongShape())
    assert task.scores(CHILDREN, BATCH).tolist() == [-np.inf] * 5
    batch = task.draw_batch(bytes(32))
    assert (len(batch), task.metrics(CHILDREN[0])) == (0, {})
    assert task.scores(CHILDREN, batch).tolist() == [-np.inf] * 5
    assert task.fitness_if_measured(CHILDREN[0], batch) is None
    assert task.faults.count == 5 + 1 + 1


def test_what_fails_on_many_and_on_no_single_one_is_asked_for_fewer() -> None:
    task = Single()
    checked = CheckedTask(task)
    for _ in range(2):
        assert checked.scores(CHILDREN, BATCH).tolist() == pytest.approx(SphereTask().scores(CHILDREN, BATCH).tolist())
    assert task.sizes == [5, 1, 1, 1, 1, 1, 2, 2, 1]
    assert checked.faults.count == 1


def test_of_a_batch_that_hangs_two_are_waited_for_and_the_rest_is_given_up() -> None:
    task = Late(first=1)
    checked = CheckedTask(task)
    scores = checked.scores(CHILDREN, BATCH)
    assert np.isfinite(scores).tolist() == [True, False, False, False, False]
    assert (task.asked, checked.faults.count) == (1 + 3, 4)


def test_a_task_may_write_into_the_parameters_that_it_gets() -> None:
    class WritingTask(SphereTask):
        def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
            parameters[:] = 0
            return 1.0

    parameters = np.ones(20, dtype=np.float32)
    parameters.setflags(write=False)
    assert (CheckedTask(WritingTask()).fitness(parameters, np.arange(3)), parameters.sum()) == (1.0, 20.0)


class FaultyGradient(SphereTask):
    """Fails on a negative parameter, and has no row 7."""

    @property
    def sample_labels(self) -> Int64Array:
        return np.zeros(8, dtype=np.int64)

    def minibatch(self, rows: Int64Array) -> Minibatch:
        if 7 in rows:
            raise IndexError("no row 7")
        return Minibatch(np.ones((len(rows), PARAMETERS)), np.zeros(len(rows)))

    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        return np.sqrt(parameters) if parameters[0] >= 0 else parameters[:3]


def test_a_gradient_that_is_none_is_not_a_number_and_ends_nobody() -> None:
    task = checked_differentiable(FaultyGradient())
    assert isinstance(task, DifferentiableTask)
    parameters = np.full(PARAMETERS, 4, dtype=np.float32)
    minibatch = task.minibatch(np.arange(4))
    assert task.gradient(parameters, minibatch).tolist() == [2] * PARAMETERS
    assert np.isnan(task.gradient(-parameters, minibatch)).all()
    assert np.isnan(task.gradient(parameters, task.minibatch(np.array([7])))).all()
    assert task.checked.faults.count == 2
    assert task.checked.faults.take_untold() == (
        "task 'sphere': gradient is float32 of shape (3,), expected a float32 vector of 20, one per parameter, all finite",
        "task 'sphere': minibatch raised IndexError: no row 7, expected a Minibatch of as many inputs and labels as the 1 rows",
    )


def test_a_task_is_checked_once() -> None:
    task = checked_differentiable(digits_mlp())
    assert checked_differentiable(task) is task
    assert checked_task(task) is task.checked is checked_task(task.checked)
