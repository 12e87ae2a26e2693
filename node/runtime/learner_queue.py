"""The queue in front of the learner: what names payloads that are not held waits here, and is never asked.

Pure. What is delivered, replayed or adopted keeps its order: behind a step that waits, all wait. Questions about single
contributions and blocks stand aside and let the others pass.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from consensus.steps import Attachment
from consensus.types import Digest, Height
from learning.learner import AssessRequest, CheckRequest, LearnerRequest
from node.common.wording import counted


@dataclass(slots=True)
class _Waiting:
    request: LearnerRequest
    height: Height
    lacking: dict[Digest, Attachment]

    @property
    def may_stand_aside(self) -> bool:
        """Whether nothing that comes later follows from its answer."""
        return isinstance(self.request, AssessRequest | CheckRequest)


@dataclass(frozen=True, slots=True)
class Awaited:
    """What our learner waits for; shown to people."""

    payloads: int
    """That are not held."""
    height: Height
    """Of the first commit or block that waits for them; 0 for a contribution."""
    peers_asked: int
    """For any of them."""

    def in_words(self, step: str) -> str:
        """For people; `step`: what the order's steps are called."""
        return f"{counted(self.payloads, 'payload')} of {step} {self.height:,}, asked {counted(self.peers_asked, 'peer')}"


class LearnerQueue:
    """Bounded by what the machine asks: a pool, a tree, and the commits or blocks that follow the one that waits first."""

    def __init__(self, is_held: Callable[[Digest], bool]) -> None:
        self._is_held = is_held
        self._queue: deque[_Waiting] = deque()
        self._aside: dict[int, _Waiting] = {}
        """In the order in which they stepped aside."""
        self._lacking: dict[Digest, list[_Waiting]] = {}
        """Who waits for a payload."""
        self._missing: dict[Digest, Attachment] = {}
        self._steps_aside = 0

    def put(self, request: LearnerRequest, height: Height, attachments: Iterable[Attachment]) -> tuple[LearnerRequest, ...]:
        """What can be asked now."""
        lacking = {large.digest: large for large in attachments if not self._is_held(large.digest)}
        waiting = _Waiting(request, height, lacking)
        for digest, large in lacking.items():
            self._lacking.setdefault(digest, []).append(waiting)
            self._missing[digest] = large
        self._queue.append(waiting)
        return self._ready()

    def on_held(self, digest: Digest) -> tuple[LearnerRequest, ...]:
        """A payload is here; what can be asked now."""
        self._missing.pop(digest, None)
        waiting = self._lacking.pop(digest, None)
        if waiting is None:
            return ()
        for one in waiting:
            del one.lacking[digest]
        complete = tuple(place for place, one in self._aside.items() if not one.lacking)
        return (*(self._aside.pop(place).request for place in complete), *self._ready())

    def restore(self, request: LearnerRequest, height: Height) -> tuple[LearnerRequest, ...]:
        """The learner goes on from a state at this height, and from what follows it; what can be asked now."""
        for waiting in self._queue:
            if waiting.height <= height:
                self._forget(waiting)
        self._queue = deque(waiting for waiting in self._queue if waiting.height > height)
        self._queue.appendleft(_Waiting(request, height, {}))
        return self._ready()

    def forget_below(self, height: Height) -> None:
        """A block of this height is final: what asks about another that is no higher is of no use."""
        for place, waiting in list(self._aside.items()):
            if isinstance(waiting.request, CheckRequest) and waiting.height <= height:
                del self._aside[place]
                self._forget(waiting)

    @property
    def missing(self) -> Iterable[Attachment]:
        """What is waited for, in the order in which it was found missing."""
        return self._missing.values()

    @property
    def first_height(self) -> Height:
        """Of what waits first."""
        return next((waiting.height for waiting in (*self._queue, *self._aside.values())), Height(0))

    def _forget(self, waiting: _Waiting) -> None:
        for digest in waiting.lacking:
            self._lacking[digest] = [other for other in self._lacking[digest] if other is not waiting]
            if not self._lacking[digest]:
                del self._lacking[digest], self._missing[digest]

    def _ready(self) -> tuple[LearnerRequest, ...]:
        ready: list[LearnerRequest] = []
        while self._queue:
            first = self._queue[0]
            if first.lacking and not first.may_stand_aside:
                break
            self._queue.popleft()
            if first.lacking:
                self._aside[self._steps_aside] = first
                self._steps_aside += 1
            else:
                ready.append(first.request)
        return tuple(ready)
