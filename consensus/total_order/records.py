"""What is recorded, under which keys, and how it is read back.

Tables sort so that the chain of commits is read before the blocks: only those above its horizon are kept in memory.
"""

from typing import Protocol

from consensus.effects import Record
from consensus.encoding import CorruptRecordsError, decode_record, encode
from consensus.total_order.block import BLOCK_CODEC, Block, Reference
from consensus.total_order.linearizer import COMMIT_CODEC, CommitRecord

BASE_TABLE = "base"
"""Key: index (8 bytes). Where the chain of commits was joined by a snapshot; the value is the digest of the commit before."""

COMMIT_TABLE = "commit"
"""Key: index (8 bytes, big endian). Value: the record."""

EVIDENCE_TABLE = "evidence"
"""Key: the member's key. Value: two blocks of it for one round."""

VERTEX_TABLE = "vertex"
"""Key: round (8 bytes), author (4 bytes, both big endian), digest. Value: an accepted block, ours or another's."""


class TotalOrderArchive(Protocol):
    """Reads what was recorded. A read is quick and changes nothing."""

    def value(self, table: str, key: bytes) -> bytes | None:
        """The value recorded under (table, key), or None."""
        ...


def index_key(index: int) -> bytes:
    """The key of a commit; keys sort by index."""
    return index.to_bytes(8, "big")


def vertex_key(reference: Reference) -> bytes:
    """The key of a block; keys sort by round."""
    return reference.round.to_bytes(8, "big") + reference.author.to_bytes(4, "big") + reference.digest


def record_of_block(reference: Reference, block: Block) -> Record:
    """To be durable before the block is sent or built upon."""
    return Record(VERTEX_TABLE, vertex_key(reference), encode(block))


def record_of_commit(record: CommitRecord) -> Record:
    """To be durable before the commit is delivered."""
    return Record(COMMIT_TABLE, index_key(record.index), encode(record))


def decode_block(key: bytes, value: bytes) -> Block:
    """A recorded block. Raises CorruptRecordsError when its bytes cannot be read."""
    return decode_record(BLOCK_CODEC, value, f"block {key.hex()}")


def decode_commit(key: bytes, value: bytes) -> CommitRecord:
    """A recorded commit. Raises CorruptRecordsError when its bytes cannot be read."""
    record = decode_record(COMMIT_CODEC, value, f"commit {key.hex()}")
    if index_key(record.index) != key:
        raise CorruptRecordsError(f"record of commit {key.hex()} holds commit {record.index}")
    return record


def read_block(archive: TotalOrderArchive, reference: Reference) -> Block | None:
    """A block from the archive. Raises CorruptRecordsError when it cannot be read."""
    key = vertex_key(reference)
    value = archive.value(VERTEX_TABLE, key)
    return None if value is None else decode_block(key, value)


def read_commit(archive: TotalOrderArchive, index: int) -> CommitRecord | None:
    """A commit from the archive. Raises CorruptRecordsError when it cannot be read."""
    key = index_key(index)
    value = archive.value(COMMIT_TABLE, key)
    return None if value is None else decode_commit(key, value)
