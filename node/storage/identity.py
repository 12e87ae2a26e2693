"""A peer's key: an Ed25519 private key in a file that only its owner can read."""

import os
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from consensus.encoding import Signer
from consensus.types import PeerId
from node.common.errors import NodeError, disk_error
from node.common.files import write_new_file
from node.common.wording import command_text

KEY_FILE_BYTES_MAX = 4_096
"""A PKCS8 PEM of an Ed25519 key takes 119 bytes; whatever is larger is another file."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are, and how we sign. The key itself stays inside `sign`, and out of every log."""

    peer_id: PeerId
    sign: Signer = field(repr=False)


def create_identity(path: Path) -> Identity:
    """Make a new key file (PKCS8 PEM, mode 0600), durably. Never overwrites. Raises NodeError."""
    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_new_file(path, content, "write the key", mode=0o600)
    return _identity_of(key)


def load_identity(path: Path) -> Identity:
    """The identity in the key file. Raises NodeError when it is missing, readable by others, or not an Ed25519 key."""
    content = _private_bytes(path)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _not_a_key(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _not_a_key(path)
    return _identity_of(key)


def _private_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(KEY_FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise NodeError(
            f"there is no key {path}", f"restore it from your copy, or make a new one: {command_text('keygen', path)}"
        ) from error
    except OSError as error:
        raise disk_error("read the key", path, error) from error
    if mode & 0o077:
        raise NodeError(
            f"the key {path} can be read by others (mode {mode:04o}, allowed is 0600)", shlex.join(["chmod", "600", str(path)])
        )
    if len(content) > KEY_FILE_BYTES_MAX:
        raise _not_a_key(path)
    return content


def _not_a_key(path: Path) -> NodeError:
    return NodeError(f"{path} holds no Ed25519 private key (PKCS8 PEM, not encrypted)", "restore the key from your copy")


def _identity_of(key: Ed25519PrivateKey) -> Identity:
    return Identity(PeerId(key.public_key().public_bytes_raw()), key.sign)
