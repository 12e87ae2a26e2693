"""The bytes that members submit where steps are scored: their gradient's name, or their scores of the slate.

Submission: kind u8 (2 scores, 3 gradient) | scores as in `learning.model_consensus.scores`, or a gradient as in `submission`.
"""

from learning.gradient.submission import GradientSubmission, decode_submission, encode_submission
from learning.model_consensus.scores import SCORES_KIND, MalformedPayloadError, Scores, decode_scores, encode_scores

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
