"""What became of everybody's gradients since this peer started, counted for people."""

from collections import Counter

from learning.learner import GradientsJudged
from node.api.status import GradientStatus, WorkerStatus

STALENESS_BINS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Lower ends of the histogram's bins, in versions of the model; the last one is open."""

WORKERS_MAX = 256
"""Authors counted one by one; under open membership there may be more, and these are counted together."""

OTHERS = b""


class GradientTally:
    """Counts by worker and outcome, and by staleness."""

    def __init__(self) -> None:
        self._version = 0
        self._outcomes: dict[bytes, Counter[str]] = {}
        self._accepted: Counter[bytes] = Counter()
        self._staleness: Counter[int] = Counter()
        self._weights: dict[bytes, float] = {}

    def add(self, told: GradientsJudged) -> None:
        """Count the gradients of one step."""
        self._version = told.version
        if told.weights:
            self._weights = dict(told.weights)
        for judged in told.judged:
            is_counted = judged.author in self._outcomes or len(self._outcomes) < WORKERS_MAX
            author = judged.author if is_counted else OTHERS
            self._outcomes.setdefault(author, Counter())[judged.outcome] += 1
            self._accepted[author] += judged.is_accepted
            if judged.staleness is not None:
                self._staleness[max(low for low in STALENESS_BINS if low <= max(0, judged.staleness))] += 1

    def status(self) -> GradientStatus:
        """As `status` shows it; workers ascending by id."""
        workers = tuple(
            WorkerStatus(
                peer_id=author.hex(),
                delivered=outcomes.total(),
                accepted=self._accepted[author],
                outcomes=dict(sorted(outcomes.items())),
                weight=self._weights.get(author, 0.0),
            )
            for author, outcomes in sorted(self._outcomes.items())
        )
        return GradientStatus(self._version, workers, {str(low): self._staleness[low] for low in STALENESS_BINS})
