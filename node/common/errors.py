"""What goes wrong in the world or by a user's hand, told in one form: what, and how to mend it."""

import errno
from pathlib import Path

EXIT_OK = 0
EXIT_GOAL_NOT_MET = 1
EXIT_CANNOT_NOW = 1
"""Of `inject`: no testnet runs, or it cannot do that in its present state."""
EXIT_USAGE = 2
EXIT_DISAGREEMENT = 3
"""Of `testnet`: honest peers disagree on a final step."""
EXIT_NOT_RUNNING = 3
"""Of `status` and `export`: no peer answers."""
EXIT_INTERRUPTED = 130


class NodeError(Exception):
    """A user's mistake or the world's failure. The command line prints it as `error: ...` and `fix: ...`, never a traceback."""

    def __init__(self, message: str, fix: str | None, exit_code: int = EXIT_USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.exit_code = exit_code


MEND_TASK = "mend the task; README.md has one to begin with"
"""Where a task of a user's own does not keep to what a task is."""


def fix_of_task(name: str, fix: str | None) -> str | None:
    """What to do about a task that cannot be used; `fix`: what it says itself. A built-in one is not for users to mend."""
    return fix or (MEND_TASK if ":" in name else None)


MEND_FILE = "put that right in the file"
"""Where the message names the place, what stands there and what may."""


class NotRunningError(NodeError):
    """No peer answers where one was expected."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message, fix, EXIT_NOT_RUNNING)


_DISK_FIXES = {
    errno.ENOSPC: ("the disk is full", "free some space and start again: nothing that was acknowledged is lost"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and start again: nothing that was acknowledged is lost"),
    errno.EFBIG: ("the file may not grow further", "raise the limit on file sizes (ulimit -f) and start again"),
    errno.EROFS: ("the file system is read-only", "choose a folder on a file system that can be written to"),
    errno.EACCES: ("permission denied", "give your user the right to write there, or choose another place"),
    errno.EPERM: ("not permitted", "give your user the right to write there, or choose another place"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another path"),
    errno.EISDIR: ("it is a folder, not a file", "choose another path"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
}


def disk_error(doing: str, path: Path, error: OSError) -> NodeError:
    """What the operating system refused, for people: `doing` is what we tried ("write the key")."""
    reason, fix = _DISK_FIXES.get(error.errno or 0, (error.strerror or str(error), None))
    return NodeError(f"cannot {doing} {path}: {reason}", fix)
