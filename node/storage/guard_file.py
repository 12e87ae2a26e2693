"""The highest round that this peer has ever signed, in a file of its own.

It lies beside the database, not in it: an old backup of the database must not make an honest member sign twice. Leave it out
of backups.
"""

from pathlib import Path

from node.common.errors import NodeError, disk_error
from node.common.files import replace_file

GUARD_FILE_NAME = "highest_signed_round"


class GuardFile:
    """Reads and writes the round; a write is durable when it returns."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / GUARD_FILE_NAME

    def read(self) -> int:
        """The round, or 0 when nothing was ever signed. Raises NodeError when the file is damaged."""
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return 0
        except (OSError, UnicodeDecodeError) as error:
            reason = error if isinstance(error, OSError) else OSError(str(error))
            raise disk_error("read the guard file", self._path, reason) from error
        if not text.isdigit():
            fix = "restore it from a copy made after the last run; without it this key must not sign again"
            raise NodeError(f"{self._path} holds {text[:40]!r}, expected a whole number", fix)
        return int(text)

    def write(self, round_number: int) -> None:
        """Raise the round; a lower one than before is our own mistake. Raises NodeError."""
        assert round_number >= self.read(), f"guard file lowered to {round_number}"
        replace_file(self._path, f"{round_number}\n".encode(), "write the guard file")
