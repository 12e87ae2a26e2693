"""Reading back what was recorded."""

from typing import Protocol

from consensus.proof_of_work.header import BLOCK_CODEC, Block
from consensus.records import decode_record
from consensus.types import Height, StepId


class BlockArchive(Protocol):
    """Reads what was recorded. A read is quick and changes nothing."""

    def block(self, key: bytes) -> bytes | None:
        """The value recorded in table "block" under this key (see `block_key`), or None."""
        ...


def block_key(height: Height, step: StepId) -> bytes:
    """Height as 8 bytes, big endian, then the id: keys sort by height."""
    return height.to_bytes(8, "big") + step


def read_block(archive: BlockArchive, height: Height, step: StepId) -> Block | None:
    """A recorded block. Raises CorruptRecordsError when its bytes cannot be read."""
    value = archive.block(block_key(height, step))
    return None if value is None else decode_block(height, step, value)


def decode_block(height: Height, step: StepId, value: bytes) -> Block:
    """The block that was recorded under this height and id. Raises CorruptRecordsError when it cannot be read."""
    return decode_record(BLOCK_CODEC, value, f"block {step.hex()} (height {height})")
