"""Our own share of the work: one gradient at a time, on the newest model, and what of it is still on its way into the order."""

from learning.aggregation.quantised import payload_digest
from learning.gradient.ledger import AggregationState
from learning.gradient.submission import GradientSubmission, encode_submission
from learning.gradient.worker import Computing
from learning.learner import ContributionFound, SearchProgress

FRUITLESS_MAX = 8
"""Minibatches tried on one model that give nothing to submit: a gradient that is not finite then waits for the next model."""


class GradientSubmitter:
    """Remembers what we have submitted until it has come, or is lost. Nothing here needs to survive a restart."""

    def __init__(self, worker: Computing, author: bytes, staleness_max: int) -> None:
        self._worker = worker
        self._author = author
        self._patience = max(1, staleness_max // 2)
        """In versions of the model: what has not come by then would soon be too old, so it counts as lost."""
        self._in_flight: dict[bytes, int] = {}
        self._fruitless = (b"", 0)
        self._computed = 0

    def is_due(self, ledger: AggregationState) -> bool:
        """Whether to compute on the newest model: nothing of ours is on its way, and none on this model was accepted."""
        model, tries = self._fruitless
        is_given_up = model == ledger.digest and tries >= FRUITLESS_MAX
        return not self._in_flight and not is_given_up and dict(ledger.bases).get(self._author, -1) < ledger.version

    def compute(self, ledger: AggregationState, base: bytes) -> tuple[ContributionFound | SearchProgress, ...]:
        """What to submit for the newest model; `base`: the step that has led to it. Several only by a fault."""
        self._computed += 1
        found = tuple(self._contribution(ledger, base, encoded) for encoded in self._worker.compute(ledger.parameters))
        self._in_flight.update((answer.payload, ledger.version) for answer in found)
        model, tries = self._fruitless
        if not found:
            self._fruitless = (ledger.digest, tries + 1 if model == ledger.digest else 1)
        return (*found, SearchProgress(self._computed))

    def on_delivered(self, payload: bytes) -> None:
        """This submission was delivered, or refused; if it is ours, it is no longer on its way."""
        self._in_flight.pop(payload, None)

    def keep(self, payloads: frozenset[bytes]) -> None:
        """Of what is on its way, only these still are."""
        self._in_flight = {payload: version for payload, version in self._in_flight.items() if payload in payloads}

    def on_model_moved(self, version: int) -> None:
        """Give up on what should have come long ago."""
        self._in_flight = {payload: of for payload, of in self._in_flight.items() if version < of + self._patience}

    @staticmethod
    def _contribution(ledger: AggregationState, base: bytes, encoded: bytes) -> ContributionFound:
        submission = GradientSubmission(ledger.version, ledger.digest, payload_digest(encoded), len(encoded))
        return ContributionFound(base, encode_submission(submission), (encoded,), (submission.payload,))
