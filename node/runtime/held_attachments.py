"""Which large payloads a peer holds, and why each of them stays: the one place that knows, in both orders.

Pure. Whoever needs a payload asks here whether it is held, and nothing goes but what is given out here to be forgotten.
"""

from collections import OrderedDict
from collections.abc import Iterable

from consensus.types import Digest, Height


class HeldAttachments:
    """Payloads by digest, 0.2 kB each. One that may still be ordered stays; so does what others may still ask for.

    That is: under a total order for `commits` more, under proof of work for ever, since newcomers apply every block.

    Bounded by the pool and the tree, or the graph, and by what the disk holds.
    """

    def __init__(self, held: Iterable[Digest], commits: int) -> None:
        """`held`: what the store holds at the start. Nobody remembers why, so it stays as what others may still ask for."""
        self._held: dict[Digest, None] = dict.fromkeys(held)
        self._commits = commits
        self._needed: dict[Digest, None] = {}
        """Held or not: never forgotten."""
        self._undated: dict[Digest, None] = dict(self._held)
        """Before this life's first delivery nobody knows where the order stands."""
        self._released: OrderedDict[Digest, Height] = OrderedDict()
        """Kept for others, in the order of their release: the commit after which nothing here needed them any more."""

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, digest: Digest) -> bool:
        """Whether we hold its bytes: recorded, before anything that is asked for from now on."""
        return digest in self._held

    def put(self, digest: Digest) -> bool:
        """It has come; False where nothing needs it, and it is to be forgotten at once."""
        if digest not in self._held and digest not in self._needed:
            return False
        self._held[digest] = None
        return True

    def keep(self, digests: Iterable[Digest]) -> None:
        """Something that may still be ordered names them, whether they are held or not."""
        self._needed.update(dict.fromkeys(digests))

    def release(self, digests: Iterable[Digest], height: Height) -> None:
        """Nothing here needs them any more, but others may."""
        for digest in digests:
            self._needed.pop(digest, None)
            if digest in self._held:
                self._undated.pop(digest, None)
                self._released[digest] = height
                self._released.move_to_end(digest)

    def drop(self, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        """Nothing here needs them any more, nor does anybody else; those that may go, once our learner reads them no more."""
        loose: list[Digest] = []
        for digest in digests:
            self._needed.pop(digest, None)
            if digest in self._held and digest not in self._undated and digest not in self._released:
                loose.append(digest)
        return tuple(loose)

    def forget(self, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        """Those that have gone: but for what something has come to need since it was dropped."""
        gone = tuple(
            digest
            for digest in digests
            if digest in self._held and not (digest in self._needed or digest in self._undated or digest in self._released)
        )
        for digest in gone:
            del self._held[digest]
        return gone

    def on_delivery(self, height: Height, kept_commit: Height) -> tuple[Digest, ...]:
        """The order has reached `height`; those that go: so old that whoever lacks them starts from a checkpoint instead.

        Our own learner may be behind, and replays what follows `kept_commit`, its newest kept state: that stays.
        """
        for digest in self._undated:
            self._released[digest] = height
        self._undated.clear()
        gone: list[Digest] = []
        newest_gone = min(height - self._commits, kept_commit)
        while self._released and next(iter(self._released.values())) <= newest_gone:
            digest, _ = self._released.popitem(last=False)
            if digest not in self._needed:
                del self._held[digest]
                gone.append(digest)
        return tuple(gone)
