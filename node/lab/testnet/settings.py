"""What a user chose for a testnet on the command line, checked, in frozen form."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from learning.evolution.rules import Strategy
from learning.models.rules import UNCHANGED, ModelRules
from node.common.goal import MetricGoal
from node.rules.settings import SCORE_SECONDS_DEFAULT

if TYPE_CHECKING:  # it imports numpy, which most commands need not
    from learning.gradient.rules import GradientRules


@dataclass(frozen=True, slots=True)
class TestnetSettings:
    """How a testnet on this machine runs."""

    __test__ = False  # a class called Test... that pytest should not collect

    nodes: int
    consensus: str
    learning: str
    task: str
    strategy: Strategy
    gradient: "GradientRules | None"
    """How gradients are judged, where learning is "gradient"."""
    faulty: int
    """So many peers, the last ones, misbehave."""
    fault: str
    """How: NAME[:option=value,...] of `node.lab.faults`."""
    network_file: Path | None
    """Rules to use instead of fresh ones; consensus, learning, task and strategy then come from it."""
    goal: MetricGoal
    """Of the model that all agree on."""
    is_until_interrupted: bool
    """Go on after the goal, until Ctrl-C or the deadline."""
    deadline_s: float
    data_dir: Path | None
    """Where the peers' folders are made; a temporary folder when None."""
    is_kept: bool
    """Keep the folders afterwards."""
    is_json: bool
    """Print one JSON object as the last line of stdout."""
    puzzle_share: float
    shards: str = "whole"
    """Whose training samples are whose, where learning is "evolution"."""
    model: ModelRules = UNCHANGED
    """What is changed about the task's model."""
    start_weights: Path | None = None
    """The file that it starts from."""
    score_seconds_max: float = SCORE_SECONDS_DEFAULT
    plot: Path | None = None
    """Where the goal's metric is drawn in the end, over time and generations."""
    scenario: str = ""
    """The name of what is played on the peers; then there is no goal to reach."""
