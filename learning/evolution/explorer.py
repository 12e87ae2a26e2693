"""One author's search, from one step to the next, and how much of it was done."""

from learning.checked_task import CheckedTask
from learning.evolution.measurement import Measurement
from learning.evolution.recipe import Recipe
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import Generation, Search, SearchSettings
from learning.exact import noise_key
from learning.learner import Participant, SearchProgress
from learning.state import ModelState

PROGRESS_CANDIDATES = 1_024
"""Searched between two reports, besides one at each adoption: tens of reports a second at the fastest."""


class Explorer:
    """Searches from the step that it was last told of."""

    def __init__(
        self,
        task: CheckedTask,
        rules: EvolutionRules,
        settings: SearchSettings,
        participant: Participant,
        measurement: Measurement,
    ) -> None:
        self._task = task
        self._rules = rules
        self._schedule = rules.schedule()
        self._settings = settings
        self._participant = participant
        self._measurement = measurement
        self._search: Search | None = None
        self._tried_before = 0
        self._reported = 0

    @property
    def has_start(self) -> bool:
        """Whether there is a step to search from."""
        return self._search is not None

    @property
    def is_active(self) -> bool:
        """Whether `advance` would search: not for an observer, nor once every index was tried."""
        return self._search is not None and self._participant.is_searching and not self._search.is_exhausted

    def start_from(self, step: bytes, model: ModelState) -> None:
        """Search mutations of `model`, the state after `step`; what was found on another step is forgotten."""
        self._tried_before, participant = self._candidates_tried, self._participant
        key, sigma = noise_key(participant.network_id, step, participant.author), self._schedule.at(model.height)
        generation = Generation(model, key, sigma, self._measurement.batch(step))
        self._search = Search(self._task, self._rules, self._settings, generation)

    def stop(self) -> None:
        """There is nothing to search from until the next start."""
        self._tried_before, self._search = self._candidates_tried, None

    def advance(self) -> Recipe | None:
        """One slice of search; a recipe, when it has a better one to tell. Only while active."""
        assert self._search is not None, "a search without a start"
        return self._search.advance()

    def progress(self, since: int = PROGRESS_CANDIDATES) -> tuple[SearchProgress, ...]:
        """A report, when at least `since` candidates were tried after the last one."""
        if self._candidates_tried - self._reported < since:
            return ()
        self._reported = self._candidates_tried
        return (SearchProgress(self._candidates_tried),)

    @property
    def _candidates_tried(self) -> int:
        return self._tried_before + (self._search.candidates_tried if self._search else 0)
