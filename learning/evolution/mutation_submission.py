"""The bytes that members submit to a total order: their candidate, or their scores of the slate.

The generation that they belong to is the base of the submission.
Submission: kind u8 (1 candidate, 2 scores) | candidate as in `payload`, or scores as in `model_consensus.scores`

Section 6 of docs/protocol.md.
"""

from learning.evolution.payload import Candidate, decode_candidate, encode_candidate
from learning.model_consensus.slate import SCORES_KIND, MalformedPayloadError, Scores, decode_scores, encode_scores

CANDIDATE_KIND = 1
"""The first byte of a submission; 3 is a gradient (`learning.gradient.scored_slate`)."""

Submission = Candidate | Scores


def encode_submission(submission: Submission) -> bytes:
    """A candidate: 11 bytes, and 4 for each index. Scores: 36 bytes, and 8 for each entry of the slate."""
    if isinstance(submission, Candidate):
        return bytes([CANDIDATE_KIND]) + encode_candidate(submission)
    return bytes([SCORES_KIND]) + encode_scores(submission)


def decode_submission(data: bytes, recipe_length_max: int, members: int) -> Submission:
    """The inverse of encode_submission, for a network of so many members. Raises MalformedPayloadError."""
    match data[:1]:
        case b"\x01":
            return decode_candidate(data[1:], recipe_length_max)
        case b"\x02":
            return decode_scores(data[1:], members + 1)
        case kind:
            raise MalformedPayloadError(f"kind of submission is {kind.hex() or 'missing'}, allowed 01 (candidate), 02 (scores)")
