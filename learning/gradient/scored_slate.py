"""Gradients on a slate: the few models that follow from a generation's gradients alone, the same at every member.

On the agreed model theta, with the delivered gradients g_i of which identical ones count once: no change; theta - r g_i for
each i; theta - r mean(g) and theta - r median(g), coordinate by coordinate; for each step size r. Nothing else, so nobody can
put up a model that is no step of somebody's gradient.

A member submits kind u8 (2 scores, 3 gradient) | scores as in `learning.model_consensus.slate`, or a gradient's name as
in `ledger`. The generation under way is kept as bytes, for a restart or a peer that joins late; canonical, since it follows
from what was delivered, and with the gradients themselves: where a generation waits long for its scores, the payloads may be
forgotten before it ends.

Section 7 of docs/protocol.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec
import numpy as np

from learning.aggregation.coordinatewise import median, trimmed_mean
from learning.aggregation.quantised import QuantisedGradient, payload_digest
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.gradient.ledger import (
    GRADIENT_BYTES_MAX,
    Gradients,
    GradientSubmission,
    decode_submission,
    delivered_gradient,
    encode_submission,
)
from learning.learner import AuthoredPayload
from learning.model_consensus.slate import (
    SCORES_KIND,
    VALUES_MAX,
    MalformedPayloadError,
    ModelConsensus,
    Scores,
    decode_scores,
    encode_scores,
)
from learning.state import ModelState, StoredStateError, state_digest
from learning.task import Float32Array, Layout

GRADIENT_KIND = 3
"""The first byte; 1 is a mutation, in networks that evolve."""


def encode_scored(submission: GradientSubmission | Scores) -> bytes:
    """A gradient's name: about 76 bytes. Scores: 36 bytes, and 8 for each entry of the slate."""
    if isinstance(submission, Scores):
        return bytes([SCORES_KIND]) + encode_scores(submission)
    return bytes([GRADIENT_KIND]) + encode_submission(submission)


def decode_scored(data: bytes, entries_max: int) -> GradientSubmission | Scores:
    """The inverse of encode_scored, for slates of so many entries at most. Raises MalformedPayloadError."""
    kind = data[:1]
    if kind == bytes([SCORES_KIND]):
        return decode_scores(data[1:], entries_max)
    if kind != bytes([GRADIENT_KIND]):
        raise MalformedPayloadError(f"kind of submission is {kind.hex() or 'missing'}, allowed 02 (scores), 03 (gradient)")
    submission = decode_submission(data[1:])
    if submission is None:
        raise MalformedPayloadError(f"{len(data) - 1} bytes that name no gradient")
    return submission


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


StepConsensus = ModelConsensus[GradientSubmission, StepEntry]

Author = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Encoded = Annotated[bytes, msgspec.Meta(min_length=1, max_length=GRADIENT_BYTES_MAX)]
Value = Annotated[int, msgspec.Meta(ge=FITNESS_LOWEST, le=FITNESS_MAX)]


class KeptGeneration(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What of a generation was delivered and counts, in the order of delivery."""

    gradients: tuple[tuple[Author, Encoded], ...]
    scores: tuple[tuple[Author, tuple[Value, ...]], ...]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(KeptGeneration)


def encode_generation(consensus: StepConsensus) -> bytes:
    """MessagePack: each gradient as it travels, and each member's scores."""
    gradients = tuple((author, entries[0].gradients[0].encoded) for author, entries in consensus.candidates.items())
    return _ENCODER.encode(KeptGeneration(gradients, tuple(consensus.scores.items())))


def decode_generation(memory: bytes) -> KeptGeneration:
    """For bytes from our own records, or of a digest that enough members vouch for. Raises StoredStateError."""
    try:
        return _DECODER.decode(memory)
    except msgspec.DecodeError as error:
        raise StoredStateError(f"the stored state's memory is no generation of scored steps: {error}") from error


class KeptPayloads:
    """Payloads by digest (`learning.gradient.ledger.Gradients`): those of a kept generation, then those of `others`."""

    def __init__(self, kept: KeptGeneration, others: Gradients) -> None:
        self._held: Mapping[bytes, bytes] = {payload_digest(encoded): encoded for _, encoded in kept.gradients}
        self._others = others

    def payload(self, digest: bytes) -> bytes | None:
        """The bytes of this digest, or None where they are not held."""
        held = self._held.get(digest)
        return self._others.payload(digest) if held is None else held


def deliver_again(kept: KeptGeneration, consensus: StepConsensus, version: int, digest: bytes) -> None:
    """Bring a consensus that has just begun to where the kept one stood; `version` and `digest` are the agreed model's.

    The payloads are read from where its candidacy looks for them: the `KeptPayloads`.

    Raises StoredStateError where the two do not fit.
    """
    for author, encoded in kept.gradients:
        named = GradientSubmission(version, digest, payload_digest(encoded), len(encoded))
        attached = ((named.payload, named.length),)
        _deliver(consensus, AuthoredPayload(b"", author, consensus.generation, encode_scored(named), attached))
    consensus.end_of_commit()
    for author, values in kept.scores:
        if consensus.slate is None:
            raise StoredStateError("the stored generation has scores, but too few gradients for a slate")
        scores = Scores(consensus.slate.digest, values)
        _deliver(consensus, AuthoredPayload(b"", author, consensus.generation, encode_scored(scores)))
    if len(kept.scores) >= consensus.needed:
        raise StoredStateError(f"the stored generation has {len(kept.scores)} scores, with which it would be decided")


def _deliver(consensus: StepConsensus, item: AuthoredPayload) -> None:
    reason = consensus.deliver(item)
    if reason is not None:
        raise StoredStateError(f"the stored generation does not fit the task's model: {reason}")
