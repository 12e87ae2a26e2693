"""What is recorded, under which keys, and how it is read back."""

from typing import Protocol

from consensus.effects import Record
from consensus.encoding import encode
from consensus.proof_of_work.block_index import BlockIndex
from consensus.proof_of_work.header import BLOCK_CODEC, Block, NamedBlock
from consensus.records import CorruptRecordsError, decode_record
from consensus.steps import Verdict
from consensus.types import Height, StepId

BLOCK_TABLE = "block"
"""Key: block_key. Value: the canonical block. Written before the block is checked, and once its large payloads are held: so
parents come before children, and payloads before the blocks that name them."""

VERDICT_TABLE = "verdict"
"""Key: block id. Value: the verdict's word."""

FINAL_TABLE = "final"
"""One key. Value: height (8 bytes, big endian) and id of the newest final block, like a block's key."""

FINAL_KEY = b"final"


class BlockArchive(Protocol):
    """Reads what was recorded. A read is quick and changes nothing."""

    def block(self, key: bytes) -> bytes | None:
        """The value recorded in table "block" under this key (see `block_key`), or None."""
        ...


def block_key(height: Height, step: StepId) -> bytes:
    """Height as 8 bytes, big endian, then the id: keys sort by height."""
    return height.to_bytes(8, "big") + step


def record_of_block(named: NamedBlock) -> Record:
    """To be durable before the block is checked."""
    return Record(BLOCK_TABLE, block_key(Height(named.header.height), named.id), encode(named.block))


def record_of_verdict(step: StepId, verdict: Verdict) -> Record:
    """To be durable before anything is built on the block."""
    return Record(VERDICT_TABLE, step, verdict.value.encode())


def record_of_final(link: BlockIndex) -> Record:
    """To be written before the block is called final."""
    return Record(FINAL_TABLE, FINAL_KEY, block_key(link.height, link.id))


def read_block(archive: BlockArchive, height: Height, step: StepId) -> Block | None:
    """A recorded block. Raises CorruptRecordsError when its bytes cannot be read."""
    value = archive.block(block_key(height, step))
    return None if value is None else decode_block(height, step, value)


def decode_block(height: Height, step: StepId, value: bytes) -> Block:
    """The block that was recorded under this height and id. Raises CorruptRecordsError when it cannot be read."""
    return decode_record(BLOCK_CODEC, value, f"block {step.hex()} (height {height})")


def recorded_block(archive: BlockArchive, height: Height, step: StepId) -> Block:
    """A block that must be in the archive. Raises CorruptRecordsError when it is not."""
    block = read_block(archive, height, step)
    if block is None:
        raise CorruptRecordsError(f"block {step.hex()} (height {height}) is missing from the archive")
    return block
