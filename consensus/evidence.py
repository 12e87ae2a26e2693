"""A peer's fault is a value: what it did, and the bytes that prove it."""

from dataclasses import dataclass
from enum import StrEnum

from consensus.types import PeerId


class Offence(StrEnum):
    """What a peer did wrong, in words that a person reads in a log."""

    MALFORMED = "malformed message"
    OVERSIZED = "oversized message"
    UNSOLICITED = "answer that nobody asked for"
    WRONG_SIGNATURE = "wrong signature"
    WRONG_PUZZLE = "puzzle not solved"
    WRONG_TARGET = "wrong target"
    WRONG_TIME = "time not after the median of its ancestors"
    WRONG_HEIGHT = "wrong height"
    WRONG_BODY = "body does not match its header"
    WRONG_BASE = "contribution for another step than the block's parent"
    INVALID_STEP = "step that cannot be applied"
    FALSE_CLAIM = "false fitness claim"
    UNKNOWN_MEMBER = "block by somebody who is no member"
    WRONG_PARENTS = "parents that its round cannot have"
    DUPLICATE_PARENT = "two parents by one author"
    TOO_FEW_PARENTS = "too few parents of the round before"
    EQUIVOCATION = "two blocks for one round"
    FLOODING = "more messages than allowed"


@dataclass(frozen=True, slots=True)
class Accusation:
    """Signed evidence against a peer, that convinces anybody who holds the network file.

    `evidence` is the canonical encoding of what the peer signed.
    """

    accused: PeerId
    offence: Offence
    detail: str
    evidence: bytes
