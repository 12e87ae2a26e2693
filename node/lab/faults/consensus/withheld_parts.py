"""Parts of large bytes that a faulty peer keeps back from who asks: what it holds is the honest server's."""

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import assert_never

from consensus.types import PeerId
from node.net.parts import GivePart, PartPort
from node.net.wire import GetPart, Part

LATE_SECONDS = 4.9
"""Hardly less than who asks waits for a part; no honest peer takes its time."""


class Serving(Enum):
    """What who asks a peer for payloads and states is told."""

    GIVES = "gives"
    """What is held."""
    DENIES = "denies"
    """That there is nothing."""
    SILENT = "silent"
    """Nothing at all."""
    LATE = "late"
    """What is held, after `LATE_SECONDS`."""


ServingOf = Callable[[PeerId], Serving]
"""How this peer is answered now."""

Later = Callable[[float, Callable[[], None]], object]
"""Has something done after so many seconds."""


def gives_all(peer: PeerId) -> Serving:  # noqa: ARG001 - what others need
    """Everybody is given what is held."""
    return Serving.GIVES


class Withholding:
    """How one faulty peer answers: as an honest one does, unless a fault of its own says otherwise; the last one that does."""

    def __init__(self) -> None:
        self._serving_of: ServingOf = gives_all

    def follow(self, serving_of: ServingOf) -> None:
        """Answer as this says from now on."""
        self._serving_of = serving_of

    def serving_of(self, peer: PeerId) -> Serving:
        """How this peer is answered now."""
        return self._serving_of(peer)


class WithheldParts:
    """Stands before an honest server. Implements `node.net.parts.PartPort`."""

    def __init__(self, honest: PartPort, serving_of: ServingOf, later: Later) -> None:
        self._honest = honest
        self._serving_of = serving_of
        self._later = later

    def answer(self, peer: PeerId, question: GetPart, give: GivePart) -> None:
        """Have the honest server answer, or nobody."""
        match self._serving_of(peer):
            case Serving.GIVES:
                self._honest.answer(peer, question, give)
            case Serving.DENIES:
                give(Part(question.digest, question.offset, 0, b""))
            case Serving.SILENT:
                pass
            case Serving.LATE:
                self._honest.answer(peer, question, lambda part: self._give_late(give, part))
            case _ as never:
                assert_never(never)

    def _give_late(self, give: GivePart, part: Part) -> None:
        self._later(LATE_SECONDS, partial(give, part))
