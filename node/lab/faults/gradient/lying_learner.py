"""A gradient learner that lies, put together from an honest one: only its worker is another, and it hears what is read.

It passes on what an honest one would not, and more often than an honest one would.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import msgspec

from learning.aggregation.quantised import MalformedGradientError, decode_gradient
from learning.gradient.ledger import AggregationState, Gradients, decode_submission, encode_submission
from learning.gradient.worker import MakeWorker, RowSource, Worker, WorkerSettings
from learning.learner import (
    AssessRequest,
    AuthoredPayload,
    ContributionAssessed,
    ContributionFound,
    DeliverRequest,
    Learner,
    LearnerAnswer,
    LearnerRequest,
    Verdict,
)
from learning.task import DifferentiableTask, Float32Array, Layout
from node.lab.faults.evolution.interceptor import Answers
from node.lab.faults.gradient.conduct import Conduct, Submitted


class LyingWorker:
    """Implements `learning.gradient.worker.Computing`: an honest worker, and what its conduct makes of its gradient."""

    def __init__(self, task: DifferentiableTask, rows: RowSource, settings: WorkerSettings, conduct: Conduct) -> None:
        self._honest = Worker(task, rows, settings)
        self.conduct = conduct

    def compute(self, parameters: Float32Array) -> tuple[bytes, ...]:
        """What the conduct submits, as far as it can travel."""
        own = self._honest.gradient(parameters, self.conduct.minibatch(self._honest.draw()))
        payloads = () if own is None else map(self._payload, self.conduct.submissions(own))
        return tuple(payload for payload in payloads if payload is not None)

    def _payload(self, submitted: Submitted) -> bytes | None:
        return submitted if isinstance(submitted, bytes) else self._honest.encode(submitted)


@dataclass(frozen=True, slots=True)
class Liar:
    """Who lies, how, and in what network."""

    author: bytes
    conduct: Conduct
    layout: Layout
    bits: int
    """Per value of a gradient."""

    def learner(self, gradients: Gradients, make: Callable[[Gradients, MakeWorker], Learner]) -> Learner:
        """Its learner; `make`: an honest one that reads these payloads and has this worker."""
        reading = _Reading(gradients)
        return _Eavesdropper(self, make(reading, partial(LyingWorker, conduct=self.conduct)), reading)


class _Reading:
    """Implements `Gradients`, and notes what a request has had read."""

    def __init__(self, gradients: Gradients) -> None:
        self._gradients = gradients
        self.payloads: dict[bytes, bytes] = {}

    def payload(self, digest: bytes) -> bytes | None:
        """As they lie there."""
        payload = self._gradients.payload(digest)
        if payload is not None:
            self.payloads[digest] = payload
        return payload


class _Eavesdropper:
    """Implements `learning.learner.Learner`. What an honest learner reads of the others, the conduct hears."""

    def __init__(self, liar: Liar, honest: Learner, reading: _Reading) -> None:
        self._liar = liar
        self._honest = honest
        self._reading = reading

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        """As the honest one."""
        self._reading.payloads.clear()
        answers = self._honest.handle(request)
        for author, gradient in self._read_of_others(request):
            self._liar.conduct.on_gradient(author, gradient)
        return answers

    @property
    def is_scoring(self) -> bool:
        """As the honest one."""
        return self._honest.is_scoring

    @property
    def is_searching(self) -> bool:
        """As the honest one."""
        return self._honest.is_searching

    def search(self) -> tuple[LearnerAnswer, ...]:
        """As the honest one, with the worker that lies."""
        return self._honest.search()

    def _read_of_others(self, request: LearnerRequest) -> Iterator[tuple[bytes, Float32Array]]:
        """Of what several items name, the first of each author."""
        seen: set[bytes] = set()
        for item in _items(request):
            if item.author in {self._liar.author, *seen}:
                continue
            for digest, length in item.attached:
                payload = self._reading.payloads.get(digest)
                if payload is None or len(payload) != length:
                    continue
                try:
                    gradient = decode_gradient(payload, self._liar.layout, self._liar.bits)
                except MalformedGradientError:
                    continue
                seen.add(item.author)
                yield item.author, gradient.dense()


def _items(request: LearnerRequest) -> tuple[AuthoredPayload, ...]:
    match request:
        case DeliverRequest(step):
            return step.items
        case AssessRequest(contribution):
            return (contribution,)
        case _:
            return ()


class OwnGradientsAreGood:
    """Calls each contribution of its own good. Every request is answered before the next one."""

    def __init__(self, author: bytes) -> None:
        self._author = author
        self._own: bytes | None = None
        """The contribution that is asked about, if it is ours."""

    def hear(self, request: LearnerRequest) -> None:
        """Whose is it?"""
        is_own = isinstance(request, AssessRequest) and request.contribution.author == self._author
        self._own = request.contribution.digest if isinstance(request, AssessRequest) and is_own else None

    def say(self, answers: Answers) -> Answers:
        """Praise for our own."""
        return tuple(
            ContributionAssessed(answer.digest, Verdict.GOOD, is_useful=True, detail="")
            if isinstance(answer, ContributionAssessed) and answer.digest == self._own
            else answer
            for answer in answers
        )


class Incessant:
    """Submits its newest gradient again with every commit, on the newest model; an honest worker waits until its own has come.

    `ledger`: of its learner, now.
    """

    def __init__(self, ledger: Callable[[], AggregationState]) -> None:
        self._ledger = ledger
        self._newest: ContributionFound | None = None
        self._commit: bytes | None = None

    def hear(self, request: LearnerRequest) -> None:
        """Is it a commit?"""
        self._commit = request.step.id if isinstance(request, DeliverRequest) else None

    def say(self, answers: Answers) -> Answers:
        """And one gradient more, once there is any."""
        for answer in answers:
            if isinstance(answer, ContributionFound):
                self._newest = answer
        if self._commit is None or self._newest is None:
            return answers
        submission, ledger = decode_submission(self._newest.payload), self._ledger()
        assert submission is not None, "our own"
        again = msgspec.structs.replace(submission, base=ledger.version, base_digest=ledger.digest)
        found = ContributionFound(self._commit, encode_submission(again), self._newest.large, self._newest.digests)
        self._commit = None
        return (*answers, found)
