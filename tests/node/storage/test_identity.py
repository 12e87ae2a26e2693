import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from consensus.encoding import Domain, digest_of, is_signed_by
from consensus.types import NetworkId
from node.common.errors import NodeError
from node.storage.identity import create_identity, load_identity

DIGEST = digest_of(Domain.HANDSHAKE, NetworkId(bytes(32)), b"hello")


def test_a_loaded_key_signs_as_the_peer_that_was_created(tmp_path: Path) -> None:
    created = create_identity(tmp_path / "key.pem")
    loaded = load_identity(tmp_path / "key.pem")
    assert loaded.peer_id == created.peer_id
    assert is_signed_by(created.peer_id, DIGEST, loaded.sign(DIGEST))


def test_two_keys_are_two_peers(tmp_path: Path) -> None:
    assert create_identity(tmp_path / "one.pem").peer_id != create_identity(tmp_path / "two.pem").peer_id


def test_a_new_key_is_readable_by_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        create_identity(tmp_path / "key.pem")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_the_key_is_not_in_the_text_of_an_identity(tmp_path: Path) -> None:
    identity = create_identity(tmp_path / "key.pem")
    assert repr(identity) == f"Identity(peer_id={identity.peer_id!r})"


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"precious")
    with pytest.raises(NodeError, match="is there already, and is never overwritten"):
        create_identity(path)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_can_read_is_refused_and_the_fix_is_told(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    create_identity(path)
    path.chmod(mode)
    with pytest.raises(NodeError, match=f"can be read by others \\(mode {mode:04o}, allowed is 0600\\)") as caught:
        load_identity(path)
    assert caught.value.fix == f"chmod 600 {path}"


def test_a_missing_key_is_told_with_the_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="there is no key") as caught:
        load_identity(tmp_path / "key.pem")
    assert caught.value.fix is not None
    assert "keygen" in caught.value.fix


def _x25519_pem() -> bytes:
    return X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


NO_KEYS = {
    "nothing": b"",
    "text": b"hello",
    "much": b"-" * 100_000,
    "x25519": _x25519_pem(),
    "half a key": _x25519_pem()[:60],
}


@pytest.mark.parametrize("content", NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_ed25519_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(NodeError, match="holds no Ed25519 private key"):
        load_identity(path)
