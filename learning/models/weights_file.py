"""The file of weights that a network starts from: found by its name, known by its digest. No torch here."""

import hashlib
from pathlib import Path

from learning.models.rules import ModelRules
from learning.task import TaskError

READ_BYTES = 2**20


def weights_digest(path: Path) -> str:
    """BLAKE2b-256 of the file in hexadecimal. Raises OSError."""
    hasher = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            hasher.update(part)
    return hasher.hexdigest()


def found_weights(name: str, rules: ModelRules, folders: tuple[Path, ...]) -> Path:
    """The file that the rules name, in the first of these folders that has it.

    Raises TaskError, which names the task: no such file, or another one.
    """
    places = [folder / rules.start for folder in folders]
    present = [path for path in places if path.is_file()]
    digests = {}
    for path in present:
        try:
            digests[path] = weights_digest(path)
        except OSError as error:
            raise TaskError(f"task {name!r}: cannot read {path}: {error.strerror}", "mend its permissions") from error
        if digests[path] == rules.start_digest:
            return path
    if not present:
        looked = ", ".join(str(path.parent) for path in places)
        raise TaskError(
            f"task {name!r}: no file {rules.start}, which model.start names, in {looked}",
            "copy it there from another peer of the network",
        )
    path = present[0]
    raise TaskError(
        f"task {name!r}: {path} has the digest {digests[path]}, model.start_digest is {rules.start_digest}",
        "copy the file again from another peer of the network",
    )
