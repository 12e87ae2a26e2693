"""What peers say to each other under total order: one tagged union, each list bounded."""

from typing import Annotated

import msgspec

from consensus.encoding import Codec, Natural
from consensus.total_order.block import Block, Reference, RoundNumber
from consensus.total_order.linearizer import CommitRecord

BLOCKS_ASKED_MAX = 64
"""Blocks that one request names: a round of 64 members."""

STREAM_BLOCKS_MAX = 32
"""Own blocks in one answer to Subscribe; as far as the window of rounds reaches."""

COMMITS_MAX = 64
"""Commit records in one answer: all that a joiner needs by the default rules, as far as they fit."""

ANSWER_BYTES_MAX = 524_288
"""Of the blocks or records in one answer, so that none keeps a link busy for long; one block or record always fits."""

MESSAGE_BYTES_MAX = 1_000_000
"""The largest message: an answer, or one commit record with all the references it may have (750 kB)."""


class BlockMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=0):
    """A block, unasked: the sender's own, or one that the receiver seems to lack."""

    block: Block


class Subscribe(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Asks for the other's own blocks from this round on. `wants_all`: as an observer, for all that it accepts from now on."""

    from_round: RoundNumber
    wants_all: bool


class OwnBlocks(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """The answer to Subscribe: the sender's own blocks in order of rounds; as many as fit."""

    blocks: Annotated[tuple[Block, ...], msgspec.Meta(max_length=STREAM_BLOCKS_MAX)]


class GetBlocks(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """Asks for these blocks. `number` tells the sender's requests apart."""

    number: Natural
    references: Annotated[tuple[Reference, ...], msgspec.Meta(min_length=1, max_length=BLOCKS_ASKED_MAX)]


class Blocks(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """The answer to GetBlocks: those that the sender has, as many as fit, and nothing else."""

    number: Natural
    blocks: Annotated[tuple[Block, ...], msgspec.Meta(max_length=BLOCKS_ASKED_MAX)]


class AskOwn(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """Asks, at every start, for the asker's own newest block. `incarnation` tells answers to earlier incarnations apart."""

    incarnation: Natural


class OwnNewest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """The answer to AskOwn: the newest block by the asker that the sender has ever seen; its signature is the proof."""

    incarnation: Natural
    block: Block | None


class GetCommits(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=7):
    """Asks for the commit records from this index on."""

    number: Natural
    first: Natural


class Commits(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=8):
    """The answer to GetCommits: consecutive records, as many as fit. None: the first is not known."""

    number: Natural
    records: Annotated[tuple[CommitRecord, ...], msgspec.Meta(max_length=COMMITS_MAX)]


Message = BlockMessage | Subscribe | OwnBlocks | GetBlocks | Blocks | AskOwn | OwnNewest | GetCommits | Commits

MESSAGE_CODEC: Codec[Message] = Codec(Message)
