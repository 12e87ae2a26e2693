"""Which large payloads are still named by something that may yet be listed or become final."""

from collections.abc import Iterable

from consensus.attachment import Attachment
from consensus.effects import ReleaseAttachments
from consensus.types import Digest


class NamedPayloads:
    """Counts, for each payload, the contributions of the pool and the blocks of the tree that name it. Bounded by both."""

    def __init__(self) -> None:
        self._named: dict[bytes, tuple[Digest, ...]] = {}
        """By contribution or block."""
        self._counts: dict[Digest, int] = {}
        self._final: dict[Digest, None] = {}
        """Those that a final block names, while something else still does."""
        self._released: dict[bool, list[Digest]] = {True: [], False: []}
        """By whether a final block named them."""

    def name(self, namer: bytes, attachments: Iterable[Attachment]) -> None:
        """A contribution or a block names these. The same one again changes nothing."""
        digests = tuple(dict.fromkeys(payload.digest for payload in attachments))
        if not digests or namer in self._named:
            return
        self._named[namer] = digests
        for digest in digests:
            self._counts[digest] = self._counts.get(digest, 0) + 1

    def forget(self, namer: bytes, *, is_final: bool = False) -> None:
        """It names nothing any more that is still to be decided."""
        for digest in self._named.pop(namer, ()):
            self._counts[digest] -= 1
            if is_final:
                self._final[digest] = None
            if not self._counts[digest]:
                del self._counts[digest]
                was_final = digest in self._final
                self._final.pop(digest, None)
                self._released[was_final].append(digest)

    def digests(self) -> tuple[Digest, ...]:
        """The payloads that are named."""
        return tuple(self._counts)

    def take_released(self) -> tuple[ReleaseAttachments, ...]:
        """What nothing undecided names any more; told once. Newcomers will ask for what final blocks name."""
        effects = tuple(
            ReleaseAttachments(tuple(digest for digest in digests if digest not in self._counts), were_final)
            for were_final, digests in self._released.items()
            if digests
        )
        self._released = {True: [], False: []}
        return tuple(effect for effect in effects if effect.digests)
