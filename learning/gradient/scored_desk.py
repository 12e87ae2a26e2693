"""Our own part in a generation of scored steps: one gradient, then a measurement of every model on the slate."""

from learning.evolution.scores import Scores
from learning.gradient.desk import FRUITLESS_MAX
from learning.gradient.quantised import payload_digest
from learning.gradient.scored_kept import StepConsensus
from learning.gradient.scored_measurement import OwnMeasurement
from learning.gradient.scored_slate import StepCandidacy, StepEntry
from learning.gradient.scored_submission import encode_scored
from learning.gradient.submission import Submission
from learning.gradient.worker import Computing
from learning.learner import ContributionFound
from learning.state import ModelState


class ScoredDesk:
    """Sees what was delivered in the consensus, and remembers what is on its way; nothing here needs to survive a restart."""

    def __init__(self, worker: Computing, measurement: OwnMeasurement, author: bytes) -> None:
        self._worker = worker
        self._measurement = measurement
        self._author = author

    def begin(self, consensus: StepConsensus, candidacy: StepCandidacy, model: ModelState, digest: bytes) -> None:
        """Work on the generation that starts from `model`, whose state digest is `digest`."""
        self._consensus = consensus
        self._candidacy = candidacy
        self._model = model
        self._digest = digest
        self.measured: dict[bytes, int] = {}
        """Our own measurements in micro-units, by the entries' digests."""
        self._has_offered = self._has_scored = False
        self._fruitless = 0

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to do before the next delivery."""
        return self._may_offer or self._may_score or self._unmeasured is not None

    def advance(self) -> tuple[ContributionFound, ...]:
        """One gradient, or one measurement; our scores, once all is measured. Models are measured as their gradients come."""
        if self._may_offer:
            return self._offer()
        entry = self._unmeasured
        if entry is not None:
            self.measured[entry.digest] = self._measurement.fitness(self._candidacy.state(entry).parameters)
            return ()
        return self._score() if self._may_score else ()

    @property
    def _may_offer(self) -> bool:
        """The slate is open, and our gradient neither delivered nor on its way, nor given up."""
        if self._has_offered or self._consensus.slate is not None or self._fruitless >= FRUITLESS_MAX:
            return False
        return self._author not in self._consensus.counted

    @property
    def _may_score(self) -> bool:
        """The slate is closed, and our scores neither delivered nor on their way."""
        is_closed = self._consensus.slate is not None
        return is_closed and not self._has_scored and self._author not in self._consensus.counted

    @property
    def _unmeasured(self) -> StepEntry | None:
        """The next entry to measure, for scores that are still to be given."""
        if self._consensus.slate is not None and not self._may_score:
            return None
        return next((entry for entry in self._consensus.entries if entry.digest not in self.measured), None)

    def _offer(self) -> tuple[ContributionFound, ...]:
        """Several only by a fault; none where the minibatch has given no gradient that can travel."""
        payloads = self._worker.compute(self._model.parameters)
        self._has_offered = bool(payloads)
        self._fruitless += not payloads
        return tuple(self._named(encoded) for encoded in payloads)

    def _named(self, encoded: bytes) -> ContributionFound:
        submission = Submission(self._model.height, self._digest, payload_digest(encoded), len(encoded))
        return ContributionFound(self._consensus.generation, encode_scored(submission), (encoded,), (submission.payload,))

    def _score(self) -> tuple[ContributionFound, ...]:
        slate = self._consensus.slate
        assert slate is not None, "scores for an open slate"
        self._has_scored = True
        values = tuple(self.measured[entry.digest] for entry in slate.entries)
        return (ContributionFound(self._consensus.generation, encode_scored(Scores(slate.digest, values))),)
