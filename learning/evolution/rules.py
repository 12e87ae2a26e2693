"""What all peers of a network agree on about evolution."""

from dataclasses import dataclass

from learning.evolution.recipe import RECIPE_LENGTH_LIMIT
from learning.evolution.schedule import StepSizeSchedule
from learning.exact import FITNESS_MAX

OFFSPRING_LIMIT = 2**20
"""More offspring a generation than any measurement found useful, a thousandfold."""

UNLIMITED = -1
"""As `regression_allowed`: the pure comma rule, where a child may be worse than its parent."""


class RulesError(ValueError):
    """A field is out of range; the message names it, the value found and the range allowed."""


@dataclass(frozen=True, slots=True)
class EvolutionRules:
    """Network-visible rules. Raises RulesError or ScheduleError, both ValueErrors."""

    offspring: int
    """λ: candidates tried before the first is offered."""
    recipe_length_max: int
    """mu: 1 is the published (1,λ)-search."""
    step_size: str
    step_size_factor: str
    step_size_floor: str
    """The schedule, as decimal strings: sigma(height) = max(floor, step_size * factor**height)."""
    fitness_tolerance: int
    """Micro-units by which two honest measurements may differ."""
    regression_allowed: int
    """Micro-units by which a claimed child may lie below its claimed parent; -1: unlimited."""

    def __post_init__(self) -> None:
        _require("offspring", self.offspring, 1, OFFSPRING_LIMIT)
        _require("recipe_length_max", self.recipe_length_max, 1, RECIPE_LENGTH_LIMIT)
        _require("fitness_tolerance", self.fitness_tolerance, 0, FITNESS_MAX)
        _require("regression_allowed", self.regression_allowed, UNLIMITED, FITNESS_MAX)
        self.schedule()

    def schedule(self) -> StepSizeSchedule:
        """The step size by height."""
        return StepSizeSchedule(self.step_size, self.step_size_factor, self.step_size_floor)

    def may_follow(self, child: int, parent: int) -> bool:
        """Whether a child of this fitness may be the step after a parent of that one; both in micro-units."""
        return self.regression_allowed == UNLIMITED or child >= parent - self.regression_allowed


def _require(field: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise RulesError(f"{field} is {value}, allowed {lowest}..{highest}")
