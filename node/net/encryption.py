"""After the handshake: every frame is sealed, so that whoever relays the connection can neither read nor change a frame.

Without this a peer in the middle could pass on an honest handshake and then misbehave in the honest peer's name.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consensus.types import Digest
from node.net.wire import UnsealedError

SEAL_BYTES = 16
"""The Poly1305 tag (RFC 8439) that each sealed frame carries."""

_KEY_BYTES = 32
_COUNTER_BYTES = 12


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """One key for each direction of one connection, 32 bytes each."""

    dialer_to_listener: bytes
    listener_to_dialer: bytes


def public_nonce(secret: bytes) -> bytes:
    """The X25519 public key (RFC 7748) of 32 fresh random bytes; it serves as the nonce of the handshake."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agree_on_keys(secret: bytes, their_nonce: bytes, transcript: Digest) -> SessionKeys | None:
    """HKDF-SHA256 (RFC 5869) of the X25519 secret, salted with the digest of both Hellos; None for a nonce of low order."""
    try:
        shared = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(their_nonce))
    except ValueError:
        return None
    material = HKDF(SHA256(), 2 * _KEY_BYTES, salt=transcript, info=b"kubrat/session/1").derive(shared)
    return SessionKeys(material[:_KEY_BYTES], material[_KEY_BYTES:])


class Seal:
    """One direction of a connection: ChaCha20-Poly1305 (RFC 8439), the frame's number in the stream as its nonce."""

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._count = 0

    def close(self, frame: bytes) -> bytes:
        """The sealed frame, SEAL_BYTES longer."""
        return self._cipher.encrypt(self._next_nonce(), frame, None)

    def open(self, sealed: bytes) -> bytes:
        """The frame; raises UnsealedError when it was changed, repeated, reordered or not sealed at all."""
        try:
            return self._cipher.decrypt(self._next_nonce(), sealed, None)
        except InvalidTag as error:
            raise UnsealedError(f"frame of {len(sealed)} bytes: its seal is broken") from error

    def _next_nonce(self) -> bytes:
        nonce = self._count.to_bytes(_COUNTER_BYTES, "big")
        self._count += 1
        return nonce
