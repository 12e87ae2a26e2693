"""Who is heard between blocks. Keys are free, so a block is the price of a voice, and a lie spends it (docs/protocol.md, 5)."""

from collections.abc import Callable, Mapping

from consensus.proof_of_work.chain import Chain
from consensus.types import Height, PeerId, StepId

BASES_KEPT = 64
"""Blocks on which contributions are heard at a time: a head, those a little below it, and their rivals."""

LeaderOf = Callable[[StepId], PeerId]
"""The leader of a checked block that is not yet final."""


class AuthorWindow:
    """A voice lasts for `window` blocks after the newest block that its author led; a window of 0: everybody has one.

    Looking one up costs two dictionaries, so it comes before a contribution's signature is verified. Bounded by the window: one
    entry for each leader in it, and for each of these at most one lie.
    """

    def __init__(self, window: int, chain: Chain, leader_of: LeaderOf) -> None:
        self._window = window
        self._chain = chain
        self._leader_of = leader_of
        self._final: dict[PeerId, Height] = {}
        """The newest final block that each has led, the oldest first."""
        self._branches: dict[StepId, Mapping[PeerId, Height]] = {}
        """The same above the final block, by the tip of the branch."""
        self._silenced: dict[PeerId, Height] = {}
        """Where the head was at the newest lie of each."""

    def on_final(self, leader: PeerId, height: Height) -> None:
        """A block has become final. Called for one after the other."""
        self._branches.clear()
        if self._window == 0:
            return
        self._final.pop(leader, None)
        self._final[leader] = height
        while self._final[oldest := next(iter(self._final))] <= height - self._window:
            del self._final[oldest]
        for author in [author for author, at in self._silenced.items() if at <= height - self._window]:
            del self._silenced[author]

    def silence(self, author: PeerId) -> None:
        """It has lied: it is not heard until it has led another block."""
        if self._window:
            self._silenced[author] = self._chain.tree.head.height

    def is_heard(self, author: PeerId, base: StepId) -> bool:
        """Whether the author has a voice on this checked block; on one that has left the tree nobody has."""
        tree = self._chain.tree
        link = tree.link(base)
        if link is None:
            return False
        if self._window == 0:
            return True
        led = self._branch(base).get(author, self._final.get(author))
        return led is not None and led > max(link.height - self._window, self._silenced.get(author, -1))

    def may_attach(self, author: PeerId, leader: PeerId, parent: StepId) -> bool:
        """Whether a block by `leader` on this checked one may list a contribution of the author that names large payloads.

        Its author is to have led one of the newest `window` blocks, this one included. A rule of the network where there are
        such contributions, as the window is: the learners find no worker in anybody else.
        """
        if self._window == 0 or author == leader:
            return True
        tree = self._chain.tree
        link = tree.link(parent)
        assert link is not None, "a parent is in the tree"
        led = self._branch(parent).get(author, self._final.get(author))
        return led is not None and led > link.height + 1 - self._window

    def _branch(self, tip: StepId) -> Mapping[PeerId, Height]:
        known = self._branches.get(tip)
        if known is None:
            tree = self._chain.tree
            link = tree.link(tip)
            assert link is not None, "a base is in the tree"
            known = self._branches[tip] = {self._leader_of(above.id): above.height for above in tree.path(link)}
            if len(self._branches) > BASES_KEPT:
                del self._branches[next(iter(self._branches))]
        return known
