"""What peers say to each other under proof of work: one tagged union, each list bounded."""

from typing import Annotated

import msgspec

from consensus.encoding import Codec, DigestBytes, Natural
from consensus.proof_of_work.header import BLOCK_BYTES_MAX, Block, Header
from consensus.proof_of_work.packed_headers import WORK_BYTES
from consensus.steps import Contribution

HEADERS_MAX = 128
"""30 kB, and about two seconds of puzzles to verify."""

BLOCKS_ASKED_MAX = 32
"""So many bodies may be asked for at once; an answer holds as many of them as fit."""

LOCATOR_MAX = 96
"""Ten newest, then doubling steps: enough for 2**80 blocks."""

BLOCKS_BYTES_MAX = 262_144
"""Of the blocks in one answer, so that no answer keeps a link busy for long."""

MESSAGE_BYTES_MAX = BLOCKS_BYTES_MAX + BLOCK_BYTES_MAX
"""The largest message of this protocol: an answer with blocks, and some room."""

WorkBytes = Annotated[bytes, msgspec.Meta(min_length=WORK_BYTES, max_length=WORK_BYTES)]


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block and the height at which to look for it."""

    height: Natural
    id: DigestBytes


class BlockMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=0):
    """A new block; passed on by everybody who finds its header and puzzle right."""

    block: Block


class ContributionMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """A contribution that beats what its sender knew before."""

    contribution: Contribution


class Tip(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """What the sender builds on. `work`: unsigned integer, big endian."""

    step: DigestBytes
    height: Natural
    work: WorkBytes


class GetHeaders(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """Asks for the headers after the first of these places, newest first, that the other has on its main chain."""

    locator: Annotated[tuple[Place, ...], msgspec.Meta(min_length=1, max_length=LOCATOR_MAX)]


class Headers(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """The answer to GetHeaders: each header follows the one before it. None: nothing newer is known."""

    headers: Annotated[tuple[Header, ...], msgspec.Meta(max_length=HEADERS_MAX)]


class GetBlocks(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """Asks for these blocks."""

    places: Annotated[tuple[Place, ...], msgspec.Meta(min_length=1, max_length=BLOCKS_ASKED_MAX)]


class Blocks(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """The answer to GetBlocks: those that the sender has, as many as fit."""

    blocks: Annotated[tuple[Block, ...], msgspec.Meta(max_length=BLOCKS_ASKED_MAX)]


class Busy(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=7):
    """The answer to GetHeaders or GetBlocks of who has asked too much: not now."""

    is_about_blocks: bool


Message = BlockMessage | ContributionMessage | Tip | GetHeaders | Headers | GetBlocks | Blocks | Busy

MESSAGE_CODEC: Codec[Message] = Codec(Message)
