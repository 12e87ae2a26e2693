"""One large thing on its way to us: its parts, whom they came from, and what earlier attempts at it have shown."""

from dataclasses import dataclass, field

from consensus.effects import FetchAttachment, FetchState
from consensus.types import Digest, PeerId
from node.net.wire import PART_BYTES_MAX, Part

PART_SECONDS_MAX = 5.0
"""A part is half a megabyte: slower than 1 Mbit/s, and another peer is asked."""

PART_SECONDS_MIN = 1.0
"""For what is hardly a part: who says nothing for so long keeps something back, or is far away. Each silence doubles it for the
next source, so that the far ones have their turn, too."""


@dataclass(slots=True)
class Parts:
    """What has come of one thing so far, and from whom."""

    content: bytearray = field(default_factory=bytearray)
    total: int | None = None
    """Bytes in all, as the first source said with its first part."""
    givers: tuple[PeerId, ...] = ()
    contradicted_by: tuple[PeerId, ...] = ()
    """Sources that said another total."""

    def agrees(self, peer: PeerId, total: int) -> bool:
        """Whether the source says the same length as those before it. After two that do not, theirs is no longer believed."""
        if self.total in {None, total}:
            return True
        self.contradicted_by = tuple(dict.fromkeys((*self.contradicted_by, peer)))
        if len(self.contradicted_by) > 1:
            self.content.clear()
            self.total, self.givers, self.contradicted_by = None, (), ()
        return False

    def add(self, peer: PeerId, part: Part) -> None:
        """This peer has given the next part."""
        self.total = part.total
        self.content += part.content
        self.givers = tuple(dict.fromkeys((*self.givers, peer)))


@dataclass(slots=True)
class History:
    """What earlier attempts at one thing have shown."""

    liars: tuple[PeerId, ...] = ()
    """Each gave all of a wrong whole."""
    is_alone: bool = False
    """Several gave a wrong whole together: from now on all of it comes from one, so that it is known who lies."""
    silences: int = 0
    """Sources that were left because they said nothing."""


@dataclass(slots=True)
class Fetch:
    """One thing under way. `sources`: whom to ask, the present one first; one alone for a payload."""

    effect: FetchAttachment | FetchState
    digest: Digest
    bytes_max: int
    sources: list[PeerId]
    parts: Parts = field(default_factory=Parts)
    aside: Parts = field(default_factory=Parts)
    """What came before, while the present source gives all of it once more."""
    asked_at: float = 0.0
    began_at: float = 0.0
    """With the present source."""
    given: int = 0
    """Bytes by the present source."""
    turns_left: int = 1
    is_hashing: bool = False

    @property
    def is_state(self) -> bool:
        """Else a payload."""
        return isinstance(self.effect, FetchState)

    @property
    def part_seconds(self) -> float:
        """How long the next part may take; a state's length is not known before its first one.

        Members keep few states and make new ones all the time: whoever is slow with one may not hold it until it is gone
        elsewhere, too, so another source has its turn soon, where there is one.
        """
        if isinstance(self.effect, FetchState):
            return PART_SECONDS_MAX if len(self.sources) == 1 else PART_SECONDS_MIN
        rest = max(0, self.effect.length - len(self.parts.content))
        return PART_SECONDS_MIN + (PART_SECONDS_MAX - PART_SECONDS_MIN) * min(1.0, rest / PART_BYTES_MAX)

    def is_next(self, part: Part) -> bool:
        """Whether it is a whole part: who could drip a byte at a time would hold a place for ever."""
        rest = part.total - len(self.parts.content)
        return len(part.content) == min(PART_BYTES_MAX, rest) > 0 and part.total <= self.bytes_max
