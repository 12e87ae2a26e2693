"""A figure of the model that is to be reached, as people write it: test_accuracy>=0.9, fitness>=-20, test_loss<=0.3."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

FITNESS = "fitness"
ACCURACY = "test_accuracy"

GOAL_ALLOWED = "METRIC>=VALUE or METRIC<=VALUE, in quotes, such as 'test_accuracy>=0.9' or 'test_loss<=0.3'"


@dataclass(frozen=True, slots=True)
class MetricGoal:
    """`metric`: "fitness", or one of the task's."""

    metric: str
    value: float
    is_lowest_best: bool = False

    def __str__(self) -> str:
        return f"{self.metric} {'<=' if self.is_lowest_best else '>='} {self.value:g}"

    def is_reached(self, figures: Mapping[str, float]) -> bool:
        """By these, of which the metric may be missing, or no number."""
        found = figures.get(self.metric, math.nan)
        return found <= self.value if self.is_lowest_best else found >= self.value


def parse_goal(text: str) -> MetricGoal:
    """Raises ValueError with the text found and what is allowed."""
    match = re.fullmatch(r"\s*([A-Za-z_][A-Za-z0-9_]{0,63})\s*(>=|<=)\s*(\S{1,32})\s*", text, re.ASCII)
    try:
        value = float(match[3]) if match else math.nan
    except ValueError:
        value = math.nan
    if match is None or not math.isfinite(value):
        raise ValueError(f"goal is {text[:70]!r}; allowed is {GOAL_ALLOWED}")
    return MetricGoal(match[1], value, match[2] == "<=")
