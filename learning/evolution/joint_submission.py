"""The bytes that members submit under the joint rule: a ranked list, their scores of a slate, or both at once.

Submission: kind u8 | content, where the content is
- 4: a ranked list for the generation that is the base of the submission (`ranked_list`);
- 2: scores of its slate (`model_consensus.scores`);
- 5: winner u16, ranked list, scores: the scores of the base's slate, and a list for the generation that follows, if the entry
  at this position wins.

Section 6 of docs/protocol.md.
"""

import struct
from dataclasses import dataclass

from learning.evolution.ranked_list import INDEX_BYTES, RankedList, decode_list, encode_list
from learning.model_consensus.slate import SCORES_KIND, VALUES_MAX, MalformedPayloadError, Scores, decode_scores, encode_scores

LIST_KIND = 4
SCORES_AND_LIST_KIND = 5

_WINNER = struct.Struct("<H")
LIST_HEAD_BYTES = 2


@dataclass(frozen=True, slots=True)
class ScoresAndList:
    """What a member measured, and its list on the model that it expects to win: a generation costs one agreement, not two."""

    scores: Scores
    winner: int
    """A position on the slate."""
    ranked: RankedList


JointSubmission = RankedList | Scores | ScoresAndList


def encode_joint(submission: JointSubmission) -> bytes:
    """A list: 3 bytes, and 2 for each index. Scores: 36 bytes, and 8 for each entry. Both: 40 bytes, 2 an index, 8 an entry."""
    match submission:
        case RankedList():
            return bytes([LIST_KIND]) + encode_list(submission)
        case Scores():
            return bytes([SCORES_KIND]) + encode_scores(submission)
        case ScoresAndList(scores, winner, ranked):
            return bytes([SCORES_AND_LIST_KIND]) + _WINNER.pack(winner) + encode_list(ranked) + encode_scores(scores)


def decode_joint(data: bytes, length: int) -> JointSubmission:
    """The inverse of encode_joint, for a network whose lists have this length. Raises MalformedPayloadError."""
    match data[:1]:
        case b"\x04":
            return decode_list(data[1:], length)
        case b"\x02":
            return decode_scores(data[1:], VALUES_MAX)
        case b"\x05":
            return _decode_both(data[1:], length)
        case kind:
            allowed = "02 (scores), 04 (ranked list), 05 (scores and ranked list)"
            raise MalformedPayloadError(f"kind of submission is {kind.hex() or 'missing'}, allowed {allowed}")


def _decode_both(data: bytes, length: int) -> ScoresAndList:
    list_end = _WINNER.size + LIST_HEAD_BYTES + INDEX_BYTES * length
    if len(data) <= list_end:
        raise MalformedPayloadError(f"scores and ranked list of {len(data)} bytes, allowed {list_end + 1} or more")
    (winner,) = _WINNER.unpack_from(data)
    scores = decode_scores(data[list_end:], VALUES_MAX)
    if winner >= len(scores.values):
        raise MalformedPayloadError(f"expected winner is {winner}, allowed 0..{len(scores.values) - 1}")
    return ScoresAndList(scores, winner, decode_list(data[_WINNER.size : list_end], length))
