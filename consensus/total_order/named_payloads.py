"""Which large payloads the blocks above the garbage horizon name: what none of them names any more is released."""

from dataclasses import dataclass

from consensus.steps import Attachment
from consensus.types import Digest


@dataclass(slots=True)
class NamedPayload:
    """A large payload that blocks above the horizon name."""

    round: int
    """Of the last of them."""
    was_accepted: bool = False
    """Whether one of them was accepted: its payload is then held, and others may ask for it."""


class NamedPayloads:
    """Each payload lives as long as the last round that names it."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, NamedPayload] = {}
        self._by_round: dict[int, dict[bytes, None]] = {}
        """By round: the payloads whose last naming block is of it."""

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._by_digest

    def digests(self) -> tuple[Digest, ...]:
        """The payloads that are named."""
        return tuple(Digest(digest) for digest in self._by_digest)

    def note(self, attachments: tuple[Attachment, ...], round_number: int) -> None:
        """A block of this round names these."""
        for payload in attachments:
            naming = self._by_digest.get(payload.digest)
            if naming is None:
                naming = self._by_digest[payload.digest] = NamedPayload(round_number)
            elif naming.round < round_number:
                del self._by_round[naming.round][payload.digest]
                naming.round = round_number
            self._by_round.setdefault(naming.round, {})[payload.digest] = None

    def note_accepted(self, attachments: tuple[Attachment, ...]) -> None:
        """A block that names these was accepted."""
        for payload in attachments:
            self._by_digest[payload.digest].was_accepted = True

    def take_unnamed(self, horizon: int) -> list[tuple[Digest, bool]]:
        """Those that no block above the horizon names any more, and whether one that did was accepted; told once."""
        return [
            (Digest(digest), self._by_digest.pop(digest).was_accepted)
            for number in [number for number in self._by_round if number <= horizon]
            for digest in self._by_round.pop(number)
        ]
