"""Mutual challenge and response: both sides prove their key, for this network, this connection and this role.

    dialer    -> Hello
    listener  -> Hello, Proof
    dialer    -> Proof

Each Proof signs a digest over the role of its signer and both Hellos: so both keys, both nonces and the network id. This is the
pattern of SIGMA (Krawczyk, "SIGMA: the SIGn-and-MAc approach to authenticated Diffie-Hellman", CRYPTO 2003). The nonces are
X25519 keys, from which the session keys come. When the network ids differ, both tell their rules, so that both can name them.

After it every frame is sealed: else a peer in the middle could pass on an honest handshake and then misbehave in the honest
peer's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import assert_never

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consensus.encoding import Domain, Signer, digest_of, is_signed_by
from consensus.types import Digest, NetworkId, PeerId
from node.net.wire import (
    PROTOCOL_VERSION,
    RULE_NAME_CHARACTERS_MAX,
    RULE_VALUE_CHARACTERS_MAX,
    RULES_MAX,
    USER_AGENT_CHARACTERS_MAX,
    Frame,
    Hello,
    Proof,
    Rules,
    UnsealedError,
    encode_frame,
    printable,
)

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


DIFFERENCES_SHOWN_MAX = 8
"""Fields named in one message about another network; more would not be read."""


class Role(Enum):
    """Which side of the connection; the value is what a Proof of that side signs."""

    DIALER = b"\x01"
    LISTENER = b"\x02"


_SESSION_TAG = b"\x03"  # what salts the session keys, signed by nobody


class Failure(StrEnum):
    """Why two peers do not talk."""

    BROKEN = "broken handshake"
    UNEXPECTED_FRAME = "unexpected frame"
    WRONG_SIGNATURE = "wrong signature"
    OTHER_VERSION = "another protocol version"
    OTHER_NETWORK = "another network"
    OWN_KEY = "our own key"


@dataclass(frozen=True, slots=True)
class Introduction:
    """What this peer says of itself; `rules` are the (field, value) pairs of its network file."""

    peer: PeerId
    sign: Signer
    network_id: NetworkId
    rules: tuple[tuple[str, str], ...]
    listening_port: int
    user_agent: str


@dataclass(frozen=True, slots=True)
class Established:
    """The other side is `peer`; what it says of itself is in `hello`.

    `answer` is still to be sent: the dialer's own proof, which it gives only once it wants the connection.
    """

    peer: PeerId
    hello: Hello
    keys: SessionKeys
    answer: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """No connection; `detail` goes on after the other side's address: "runs another network: ...".

    `is_offence`: no honest peer does this.
    """

    failure: Failure
    detail: str
    is_offence: bool


@dataclass(frozen=True, slots=True)
class HandshakeProgress:
    """Frames to send, in order, and the outcome once there is one."""

    frames: tuple[Frame, ...] = ()
    outcome: Established | Failed | None = None


class _Awaiting(Enum):
    HELLO = "Hello"
    PROOF = "Proof"
    RULES = "Rules"
    NOTHING = "nothing"


class Handshake:
    """One side of one handshake. `secret` is 32 fresh random bytes, never used before."""

    def __init__(self, role: Role, introduction: Introduction, secret: bytes) -> None:
        self._role = role
        self._introduction = introduction
        self._secret = secret
        self._awaiting = _Awaiting.HELLO
        self._theirs: Hello | None = None
        self._ours = Hello(
            PROTOCOL_VERSION,
            introduction.network_id,
            introduction.peer,
            public_nonce(secret),
            introduction.listening_port,
            printable(introduction.user_agent, USER_AGENT_CHARACTERS_MAX),
        )

    @property
    def their_hello(self) -> Hello | None:
        """What the other side claims, before it is proven; for people only."""
        return self._theirs

    def start(self) -> HandshakeProgress:
        """What to send first."""
        return HandshakeProgress((self._ours,)) if self._role is Role.DIALER else HandshakeProgress()

    def receive(self, frame: Frame) -> HandshakeProgress:
        """What to do about the other side's next frame."""
        match self._awaiting, frame:
            case _Awaiting.HELLO, Hello():
                return self._on_hello(frame)
            case _Awaiting.PROOF, Proof():
                return self._on_proof(frame)
            case _Awaiting.RULES, Rules():
                differences = _differences(_as_sent(self._introduction.rules), frame.fields)
                return self._fail(Failure.OTHER_NETWORK, f"runs another network: {differences}")
            case _:
                detail = f"sent {type(frame).__name__} in the handshake, where {self._awaiting.value} was due"
                return self._fail(Failure.UNEXPECTED_FRAME, detail, is_offence=True)

    def on_close(self) -> Failed | None:
        """What it means that the other side closed now; None when it says nothing about the other side."""
        if self._awaiting is not _Awaiting.RULES or self._theirs is None:
            return None
        ids = f"its id begins with {self._theirs.network_id[:8].hex()}, ours with {self._ours.network_id[:8].hex()}"
        return Failed(Failure.OTHER_NETWORK, f"runs another network: {ids}", is_offence=False)

    def _on_hello(self, theirs: Hello) -> HandshakeProgress:
        self._theirs = theirs
        answer: tuple[Frame, ...] = (self._ours,) if self._role is Role.LISTENER else ()
        if theirs.version != PROTOCOL_VERSION:
            detail = f"speaks protocol version {theirs.version}, this peer speaks {PROTOCOL_VERSION}"
            return self._fail(Failure.OTHER_VERSION, detail, answer)
        if theirs.network_id != self._ours.network_id:
            self._awaiting = _Awaiting.RULES
            return HandshakeProgress((*answer, Rules(_as_sent(self._introduction.rules))))
        self._awaiting = _Awaiting.PROOF
        return HandshakeProgress((*answer, self._proof())) if answer else HandshakeProgress()

    def _on_proof(self, proof: Proof) -> HandshakeProgress:
        theirs = self._theirs
        assert theirs is not None, "a proof is awaited only after a hello"
        their_role = Role.LISTENER if self._role is Role.DIALER else Role.DIALER
        keys = agree_on_keys(self._secret, theirs.nonce, self._digest(_SESSION_TAG))
        if keys is None or not is_signed_by(PeerId(theirs.key), self._digest(their_role.value), proof.signature):
            detail = f"did not prove that it holds the key {theirs.key[:8].hex()}"
            return self._fail(Failure.WRONG_SIGNATURE, detail, is_offence=True)
        answer = (self._proof(),) if self._role is Role.DIALER else ()
        if theirs.key == self._ours.key:  # only now: anybody can say a Hello of ours
            detail = "has our own key: it is this peer itself, or another process that uses a copy of the key"
            return self._fail(Failure.OWN_KEY, detail, answer)
        self._awaiting = _Awaiting.NOTHING
        return HandshakeProgress((), Established(PeerId(theirs.key), theirs, keys, answer))

    def _proof(self) -> Proof:
        return Proof(self._introduction.sign(self._digest(self._role.value)))

    def _digest(self, tag: bytes) -> Digest:
        assert self._theirs is not None, "nothing is signed before both Hellos are known"
        match self._role:
            case Role.DIALER:
                hellos = (self._ours, self._theirs)
            case Role.LISTENER:
                hellos = (self._theirs, self._ours)
            case _:
                assert_never(self._role)
        content = tag + b"".join(encode_frame(hello) for hello in hellos)  # MessagePack delimits itself
        return digest_of(Domain.HANDSHAKE, self._introduction.network_id, content)

    def _fail(
        self, failure: Failure, detail: str, frames: tuple[Frame, ...] = (), is_offence: bool = False
    ) -> HandshakeProgress:
        self._awaiting = _Awaiting.NOTHING
        return HandshakeProgress(frames, Failed(failure, detail, is_offence))


def _as_sent(rules: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Our rules as the wire allows them."""
    return tuple(
        (printable(field, RULE_NAME_CHARACTERS_MAX), printable(value, RULE_VALUE_CHARACTERS_MAX))
        for field, value in rules[:RULES_MAX]
    )


def _differences(ours: Sequence[tuple[str, str]], theirs: Sequence[tuple[str, str]]) -> str:
    """Which fields differ, in words: "block_interval_ms is 500 here, 1000 there"."""
    here, there = dict(ours), dict(theirs)
    differing = sorted(field for field in here.keys() | there.keys() if here.get(field) != there.get(field))
    if not differing:
        return "its rules read the same, but its network id differs"
    told = [f"{field} is {here.get(field, 'missing')} here, {there.get(field, 'missing')} there" for field in differing]
    more = f"; and {len(told) - DIFFERENCES_SHOWN_MAX} more" if len(told) > DIFFERENCES_SHOWN_MAX else ""
    return "; ".join(told[:DIFFERENCES_SHOWN_MAX]) + more
