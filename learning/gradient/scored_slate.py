"""Gradients on a slate: the few models that follow from a generation's gradients alone, the same at every member.

On the agreed model theta, with the delivered gradients g_i of which identical ones count once: no change; theta - r g_i for
each i; theta - r mean(g) and theta - r median(g), coordinate by coordinate; for each step size r. Nothing else, so nobody can
put up a model that is no step of somebody's gradient.

Section 7 of docs/protocol.md.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from learning.aggregation.coordinatewise import median, trimmed_mean
from learning.aggregation.quantised import QuantisedGradient
from learning.gradient.ledger import Gradients, delivered_gradient
from learning.gradient.scored_submission import decode_scored
from learning.gradient.submission import GradientSubmission
from learning.learner import AuthoredPayload
from learning.model_consensus.scores import VALUES_MAX, MalformedPayloadError, Scores
from learning.state import ModelState, state_digest
from learning.task import Float32Array, Layout

STEP_SHARES = (1.0, 0.25)
"""Of the learning rate; powers of two, so that the products stay exact. The second size costs as many measurements again, and
makes the learning rate a matter of little care: on digits (MLP 64-32-10, 4 and 7 members, momentum 0.5) a rate of 4 reaches
90 % in 10 generations instead of mostly never; with momentum 0.9 and a rate of 2, where one size does, it costs no generation.
A third size, a sixteenth, was no faster."""

JOINT_MOVES = 2
"""Mean and median."""


class Move(StrEnum):
    """What leads from the agreed model to an entry."""

    NONE = "no change"
    OWN = "a member's gradient"
    MEAN = "mean"
    MEDIAN = "median"


@dataclass(frozen=True, slots=True, eq=False)
class StepEntry:
    """A model on the slate; it is rebuilt when it is measured, since a slate of whole models may be large."""

    digest: bytes
    """Of the state that it leads to."""
    move: Move
    share: float
    """Of the learning rate."""
    authors: tuple[bytes, ...]
    """Whose gradients have a part in it, in the order of delivery."""
    gradients: tuple[QuantisedGradient, ...]
    """Theirs."""

    @property
    def author(self) -> bytes | None:
        """None where it is not one member's own."""
        return self.authors[0] if self.move is Move.OWN else None

    @property
    def label(self) -> str:
        """For people: what the author does not tell."""
        move = self.move.value if self.move in {Move.MEAN, Move.MEDIAN} else ""
        size = "" if self.share == 1 else "a quarter of the step"
        return ", ".join(filter(None, (move, size)))


MEMBERS_MAX = (VALUES_MAX - 1) // len(STEP_SHARES) - JOINT_MOVES
"""So that the scores of a slate fit a submission: 251."""


@dataclass(frozen=True, slots=True)
class StepRules:
    """What every peer must hold to."""

    learning_rate: np.float32
    """At most 16 significant bits, above 0."""
    layout: Layout
    members: int
    bits: int = 16
    """Per value of a gradient."""

    def __post_init__(self) -> None:
        assert 1 <= self.members <= MEMBERS_MAX, f"{self.members} members, allowed 1..{MEMBERS_MAX}"

    @property
    def entries_max(self) -> int:
        """How many models a slate may hold."""
        return 1 + len(STEP_SHARES) * (self.members + JOINT_MOVES)


class StepCandidacy:
    """Implements `learning.model_consensus.slate.Candidacy` for the steps from one model."""

    counts_leads = True

    def __init__(self, rules: StepRules, model: ModelState, digest: bytes, gradients: Gradients) -> None:
        """`digest`: of the model; `gradients`: where payloads lie."""
        self._rules = rules
        self._model = model
        self._digest = digest
        self._gradients = gradients

    def parent(self, generation: bytes) -> StepEntry:  # noqa: ARG002  Candidacy
        """The same parameters, a version later: a step that moves nothing is the same entry."""
        unchanged = ModelState(self._model.parameters, self._model.height + 1)
        return StepEntry(state_digest(unchanged), Move.NONE, 1, (), ())

    def read(self, payload: bytes) -> GradientSubmission | Scores:
        """Raises MalformedPayloadError."""
        return decode_scored(payload, self._rules.entries_max)

    def entries(self, item: AuthoredPayload, candidate: GradientSubmission) -> tuple[StepEntry, ...]:
        """One for each step size. Raises MalformedPayloadError; PayloadMissingError where a payload is not held."""
        if (candidate.base, candidate.base_digest) != (self._model.height, self._digest):
            raise MalformedPayloadError(f"a gradient on version {candidate.base}, expected the one on {self._model.height}")
        gradient = delivered_gradient(candidate, item.attached, self._gradients, self._rules.layout, self._rules.bits)
        if gradient is None:
            raise MalformedPayloadError("a payload that is no gradient of this model")
        return self._steps(Move.OWN, (item.author,), (gradient,))

    def joint(self, entries: tuple[StepEntry, ...]) -> tuple[StepEntry, ...]:
        """Mean and median of the gradients, of identical ones the first."""
        distinct: dict[bytes, StepEntry] = {}
        for entry in entries:
            if entry.share == STEP_SHARES[0]:
                distinct.setdefault(entry.gradients[0].digest, entry)
        authors = tuple(entry.authors[0] for entry in distinct.values())
        gradients = tuple(entry.gradients[0] for entry in distinct.values())
        return self._steps(Move.MEAN, authors, gradients) + self._steps(Move.MEDIAN, authors, gradients)

    def state(self, entry: StepEntry) -> ModelState:
        """The model of an entry, a version later."""
        if entry.move is Move.NONE:
            return ModelState(self._model.parameters, self._model.height + 1)
        return self._move(_direction(entry.move, entry.gradients), entry.share)

    def _steps(self, move: Move, authors: tuple[bytes, ...], gradients: tuple[QuantisedGradient, ...]) -> tuple[StepEntry, ...]:
        """One for each step size."""
        direction = _direction(move, gradients)
        digests = (state_digest(self._move(direction, share)) for share in STEP_SHARES)
        pairs = zip(STEP_SHARES, digests, strict=True)
        return tuple(StepEntry(digest, move, share, authors, gradients) for share, digest in pairs)

    def _move(self, direction: Float32Array, share: float) -> ModelState:
        """theta - (share * learning rate) * direction, each operation rounded by itself; -0.0 becomes 0.0.

        Always finite: a gradient that travels is below 2**78 and a learning rate below 2**7, so a step is less than half the
        last place of a parameter that is near the largest float32.
        """
        rate = np.float32(share) * self._rules.learning_rate
        parameters = self._model.parameters - rate * direction + np.float32(0)
        return ModelState(parameters, self._model.height + 1)


def _direction(move: Move, gradients: tuple[QuantisedGradient, ...]) -> Float32Array:
    """(parameters,) float32, whatever the order of the gradients."""
    vectors = [gradient.dense() for gradient in gradients]
    match move:
        case Move.MEAN:
            return trimmed_mean(vectors, 0)
        case Move.MEDIAN:
            return median(vectors)
        case _:
            return vectors[0]
