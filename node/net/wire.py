"""Frames: everything that two peers say to each other, as canonical bytes with a size limit each."""

from typing import Annotated

import msgspec

from consensus.effects import Offence
from consensus.encoding import Codec, DigestBytes, KeyBytes, MalformedBytesError, SignatureBytes, encode

PROTOCOL_VERSION = 5
"""Raised when a frame changes, or a rule that all peers of a network have to follow alike. `Hello` keeps its shape in every
version, so that a mismatch can be told in words."""

WEBSOCKET_MESSAGE_BYTES_MAX = 1_048_576
"""The largest message read from a socket. 32 blocks of 32 kB fit, and 64 peers at this limit take 64 MiB at worst."""

ORDERING_BYTES_MAX = WEBSOCKET_MESSAGE_BYTES_MAX - 1_024
"""The largest ordering message; the rest is room for the frame around it and the seal (40 bytes together)."""

GOSSIP_BYTES_MAX = 262_144
"""The largest flooded message: it is held by every peer for a while, so less is allowed than for an answer to one peer."""

NONCE_BYTES = 32
"""A fresh X25519 public key; 2**256 values, so that none is met twice."""

USER_AGENT_CHARACTERS_MAX = 64
"""Name and version of a program, for people."""

RULES_MAX = 128
"""Fields of a network file; a mismatch is told by name, so all of them travel."""

RULE_NAME_CHARACTERS_MAX = 64
RULE_VALUE_CHARACTERS_MAX = 256
"""Enough for a task's name or a digest in hex; longer values are cut, since they are read by people only."""

SHORT_DIGEST_BYTES = 16
"""Names a message among the recent ones; a collision costs 2**64 hashes and suppresses only the attacker's own message."""

DIGESTS_MAX = 256
"""Announcements in one frame: 4 kB."""

ADDRESSES_MAX = 64
"""Addresses in one answer: under 4 kB, and more than a peer dials."""

HOST_CHARACTERS_MAX = 45
"""The longest IPv6 address in text. Names are not exchanged: an outsider shall not make us ask a name server."""

PART_BYTES_MAX = 524_288
"""Large bytes travel in parts, one asked for at a time, so that they never keep a vote waiting for long."""

LARGE_BYTES_MAX = 1 << 32
"""The largest thing fetched in parts: a model of a thousand million parameters."""

Offset = Annotated[int, msgspec.Meta(ge=0, le=LARGE_BYTES_MAX)]

Nonce = Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Version = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
ShortDigest = Annotated[bytes, msgspec.Meta(min_length=SHORT_DIGEST_BYTES, max_length=SHORT_DIGEST_BYTES)]
ShortDigests = Annotated[tuple[ShortDigest, ...], msgspec.Meta(min_length=1, max_length=DIGESTS_MAX)]
# Text of outsiders reaches logs and terminals: printable ASCII only, so that it cannot forge a line or move a cursor.
UserAgent = Annotated[str, msgspec.Meta(max_length=USER_AGENT_CHARACTERS_MAX, pattern=r"^[ -~]*\Z")]
RuleName = Annotated[str, msgspec.Meta(max_length=RULE_NAME_CHARACTERS_MAX, pattern=r"^[ -~]*\Z")]
RuleValue = Annotated[str, msgspec.Meta(max_length=RULE_VALUE_CHARACTERS_MAX, pattern=r"^[ -~]*\Z")]
Host = Annotated[str, msgspec.Meta(max_length=HOST_CHARACTERS_MAX, pattern=r"^[0-9a-fA-F:.]+\Z")]


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """The first frame of either side: who I claim to be, and a fresh nonce. `listening_port` 0: I cannot be dialled."""

    version: Version
    network_id: DigestBytes
    key: KeyBytes
    nonce: Nonce
    listening_port: Port
    user_agent: UserAgent


class Proof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """My signature over both Hellos and my role in this connection."""

    signature: SignatureBytes


class Rules(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """The fields of my network file, told only when the network ids differ."""

    fields: Annotated[tuple[tuple[RuleName, RuleValue], ...], msgspec.Meta(max_length=RULES_MAX)]


class OrderingFrame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """A message of the ordering protocol for this peer alone."""

    message: Annotated[bytes, msgspec.Meta(max_length=ORDERING_BYTES_MAX)]


class GossipFrame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """A message of the ordering protocol for everybody."""

    message: Annotated[bytes, msgspec.Meta(max_length=GOSSIP_BYTES_MAX)]


class Have(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """I hold the flooded messages of these digests."""

    digests: ShortDigests


class Want(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=7):
    """Send me the flooded messages of these digests."""

    digests: ShortDigests


class GetAddresses(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=8):
    """Which other peers do you know?"""


class Addresses(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=9):
    """The answer to GetAddresses: (host, port) of peers, as hints."""

    addresses: Annotated[tuple[tuple[Host, Port], ...], msgspec.Meta(max_length=ADDRESSES_MAX)]


class GetPart(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=10):
    """Send me what this digest names, from this byte on."""

    digest: DigestBytes
    offset: Offset


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=11):
    """The answer to GetPart: bytes of a thing that is `total` bytes long; total 0: I do not hold it."""

    digest: DigestBytes
    offset: Offset
    total: Offset
    content: Annotated[bytes, msgspec.Meta(max_length=PART_BYTES_MAX)]


Frame = Hello | Proof | Rules | OrderingFrame | GossipFrame | Have | Want | GetAddresses | Addresses | GetPart | Part

_codec: Codec[Frame] = Codec(Frame)

FRAME_BYTES_MAX: dict[int, int] = {
    1: 256,
    2: 80,
    3: RULES_MAX * (RULE_NAME_CHARACTERS_MAX + RULE_VALUE_CHARACTERS_MAX + 8) + 8,
    4: ORDERING_BYTES_MAX + 8,
    5: GOSSIP_BYTES_MAX + 8,
    6: DIGESTS_MAX * (SHORT_DIGEST_BYTES + 2) + 8,
    7: DIGESTS_MAX * (SHORT_DIGEST_BYTES + 2) + 8,
    8: 16,
    9: ADDRESSES_MAX * (HOST_CHARACTERS_MAX + 6) + 8,
    10: 64,
    11: PART_BYTES_MAX + 64,
}
"""Encoded size limit by tag: what the fields allow, plus the few bytes of MessagePack around them."""


class FrameError(ValueError):
    """What is not allowed on the wire; `offence` says which kind of wrong it is, None where it need not be the peer's."""

    offence: Offence | None = Offence.MALFORMED


class MalformedFrameError(FrameError):
    """Bytes that are not the canonical encoding of a frame."""


class OversizedFrameError(FrameError):
    """More bytes than the frame's type allows."""

    offence = Offence.OVERSIZED


class UnsealedError(FrameError):
    """What is not sealed by the peer: whoever relays the connection can have said it, or changed it."""

    offence = None


class FloodError(FrameError):
    """More frames or bytes a second than one peer may send."""

    offence = Offence.FLOODING


def encode_frame(frame: Frame) -> bytes:
    """The canonical bytes of a frame."""
    return encode(frame)


def decode_frame(data: bytes) -> Frame:
    """The frame that `data` canonically encodes.

    Raises OversizedFrameError above the limit of its type, MalformedFrameError for anything else that is not a frame.
    """
    limit = FRAME_BYTES_MAX.get(data[1], ORDERING_BYTES_MAX) if len(data) > 1 else ORDERING_BYTES_MAX
    if len(data) > limit:
        raise OversizedFrameError(f"frame of {len(data)} bytes, limit {limit}")
    try:
        return _codec.decode(data)
    except MalformedBytesError as error:
        raise MalformedFrameError(f"frame of {len(data)} bytes: {error}") from error


def printable(text: str, characters_max: int) -> str:
    """Our own text as the wire allows it: printable ASCII, cut to `characters_max`."""
    return "".join(character if " " <= character <= "~" else ascii(character)[1:-1] for character in text)[:characters_max]
