"""What people are told: how good the model is, and what became of the gradients."""

from collections.abc import Sequence

from learning.exact import MICRO, micro_units
from learning.gradient.ledger import Judged
from learning.learner import GradientReport, GradientsReport, StepAdopted
from learning.task import Float32Array
from learning.task_check import CheckedTask

FITNESS_SAMPLES_MAX = 512
"""The standard error of a mean loss over so many is a twentieth of one sample's spread: enough for a curve."""


class Gauge:
    """Measures models on one sample that all peers of the network share, so that their curves can be compared."""

    def __init__(self, task: CheckedTask, network_id: bytes) -> None:
        """`network_id`: 32 bytes."""
        self._task = task
        self._batch = task.draw_batch(network_id)[:FITNESS_SAMPLES_MAX]

    def adopted(self, step: bytes, height: int, parameters: Float32Array, state_digest: bytes) -> StepAdopted:
        """The model at a step. Raises TaskError."""
        fitness = micro_units(self._task.fitness(parameters, self._batch)) / MICRO
        return StepAdopted(step, height, fitness, self._task.metrics(parameters), state_digest)


def told(step: bytes, version: int, judged: Sequence[Judged]) -> GradientsReport:
    """What the gradients of one step did; `version`: of the model after it."""
    rows = tuple(GradientReport(one.author, one.outcome.value, one.outcome.is_accepted, one.staleness) for one in judged)
    weights = next((one.weights for one in reversed(judged) if one.weights), ())
    return GradientsReport(step, version, rows, weights)
