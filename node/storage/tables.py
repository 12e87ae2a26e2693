"""Rows of a peer's database, the tables of the large ones, and their keys. An ordering machine's tables are its own."""

from node.rules.retention import CHECKPOINTS_KEPT

Row = tuple[str, bytes, bytes | None]
"""What is to become of one row: (table, key, value); no value: forget it."""

PAYLOAD_TABLE = "payload"
"""Where large payloads lie, by their digest."""

STATE_TABLE = "state"
"""Where the newest kept final state lies, under one key: a restart replays from there."""

CHECKPOINT_DIGEST_TABLE = "checkpoint_digest"
"""The digest of each checkpoint, under the same key: nobody has to hash them to find one."""

STATE_KEY = b"kept"


def checkpoint_key(number: int) -> bytes:
    """The newest few checkpoints stay, each in place of the one CHECKPOINTS_KEPT before it."""
    return b"checkpoint-%d" % (number % CHECKPOINTS_KEPT)
