"""The generation under way as bytes: what a restart, or a peer that joins late, needs besides the agreed model.

The encoding is canonical, since it follows from what was delivered. It holds the gradients themselves: where a generation
waits long for its scores, the payloads may be forgotten before it ends.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from learning.aggregation.quantised import payload_digest
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.gradient.ledger import Gradients
from learning.gradient.scored_slate import StepEntry
from learning.gradient.scored_submission import encode_scored
from learning.gradient.submission import GRADIENT_BYTES_MAX, GradientSubmission
from learning.learner import AuthoredPayload
from learning.model_consensus.scores import Scores
from learning.model_consensus.slate import ModelConsensus
from learning.state import StoredStateError

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
