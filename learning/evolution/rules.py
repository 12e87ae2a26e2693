"""What all peers of a network agree on about evolution."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from learning.evolution.schedule import StepSizeSchedule
from learning.exact import DecimalText
from learning.tasks.shards import SHARDS_ALLOWED, parse_shards

UNLIMITED = -1
"""As `regression_allowed`: the pure comma rule, where a child may be worse than its parent."""


class Strategy(StrEnum):
    """What a generation makes of its mutations."""

    JOINT = "joint"
    """All members' ranked lists together (`joint_step`)."""
    COMMA = "comma"
    """The published (1,λ)-search: the best of all λ is the next model, better than its parent or not (arXiv 2304.13540)."""
    PLUS = "plus"
    """A race on part of the batch, the best few on the whole; the parent stays unless one of them is better."""
    RECOMBINATION = "recombination"
    """The same, of rank-weighted means of one author's best mutations."""


class EvolutionRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How candidates are made and judged.

    Raises ScheduleError where the step sizes are no schedule, ValueError where the shards are none; ranges are checked where
    the rules are read.
    """

    offspring: Annotated[int, Meta(ge=2, le=65_536, description="λ: mutations tried at first in each generation.")] = 64
    recipe_length_max: Annotated[
        int, Meta(ge=1, le=32, description="How many mutations a child may combine; 1 is the published (1,λ)-search.")
    ] = 1
    step_size: Annotated[DecimalText, Meta(description="How far a mutation steps at the start.")] = "0.03"
    step_size_factor: Annotated[DecimalText, Meta(description="The step size is multiplied by this in every generation.")] = (
        "0.998"
    )
    step_size_floor: Annotated[DecimalText, Meta(description="The step size never falls below this.")] = "0.003"
    fitness_tolerance: Annotated[
        int, Meta(ge=0, le=10**9, description="Millionths of fitness by which two honest measurements may differ.")
    ] = 10
    regression_allowed: Annotated[
        int, Meta(ge=-1, le=10**12, description="Millionths by which a child may be worse than its parent; -1: by any amount.")
    ] = 0
    strategy: Annotated[
        Strategy,
        Meta(description="What becomes of a generation's mutations: joint (all members' lists), comma, plus or recombination."),
    ] = Strategy.PLUS
    shards: Annotated[
        str,
        Meta(
            title=SHARDS_ALLOWED,
            description="Which training samples a member of a total order searches and scores on: all of them (whole), an "
            "equal part (iid), or a part whose classes are drawn unevenly (dirichlet:0.5; the smaller, the more unequal).",
        ),
    ] = "whole"

    def __post_init__(self) -> None:
        self.schedule()
        parse_shards(self.shards)

    def schedule(self) -> StepSizeSchedule:
        """The step size by height."""
        return StepSizeSchedule(self.step_size, self.step_size_factor, self.step_size_floor)

    def may_follow(self, child: int, parent: int) -> bool:
        """Whether a child of this fitness may be the step after a parent of that one; both in micro-units."""
        return self.regression_allowed == UNLIMITED or child >= parent - self.regression_allowed
