"""A learner that takes as long as its work does: one thing after the other, as in the real node's learner process."""

from collections.abc import Callable
from functools import partial

from learning.learner import LearnerAnswer, LearnerRequest
from node.lab.simulation.peer import Agenda, SimulatedPeer, TrueTime
from node.lab.simulation.work import WorkClock
from node.processes.learner import SearchShare

REQUEST_US = 200
"""To take a request from the pipe, and to send the answers."""

SLICE_US = 100
"""Of a slice of search, beside what it measures: 64 mutations of 4,810 parameters are made in 136 us."""


class WorkingDesk:
    """Implements `node.lab.simulation.processes.Desk` for a peer that has a work clock. `answer` hears each answer."""

    def __init__(self, peer: SimulatedPeer, agenda: Agenda, time: TrueTime, answer: Callable[[LearnerAnswer], None]) -> None:
        self._peer = peer
        self._agenda = agenda
        self._time = time
        self._answer = answer
        self._share = SearchShare()
        self._slice_us = 0.0
        """What the last slice of search took."""
        self._has_been_asked = False

    def start(self, first: tuple[LearnerRequest, ...]) -> None:
        """A new incarnation: nothing is asked yet but `first`."""
        self._peer.requests.clear()
        self._peer.is_learner_busy = self._has_been_asked = False
        self._share = SearchShare()
        for request in first:
            self.ask(request)

    def ask(self, request: LearnerRequest) -> None:
        """Put a request behind those that wait."""
        self._peer.requests.append(request)
        if not self._peer.is_learner_busy:
            self._clock.now_us = 1000.0 * self._time.now
            self._next()

    @property
    def _clock(self) -> WorkClock:
        clock = self._peer.work
        assert clock is not None, "a learner whose work takes no time"
        return clock

    def _next(self) -> None:
        """Requests first, search in the time that is left; where neither is due, rest until the next request."""
        peer = self._peer
        if not peer.requests:
            self._share.on_rest()
        is_searching = self._has_been_asked and peer.learner.is_searching
        if is_searching and (not peer.requests or self._share.is_due(self._slice_us)):
            self._work(self._search)
        elif peer.requests:
            self._work(partial(self._handle, peer.requests.popleft()))
        else:
            peer.is_learner_busy = False

    def _work(self, action: Callable[[], tuple[LearnerAnswer, ...]]) -> None:
        """The clock goes on within a millisecond, so that many short pieces take no longer than one long one."""
        peer, began_us = self._peer, self._clock.now_us
        peer.is_learner_busy = True
        answers = action()
        self._clock.now_us = began_us + (self._clock.now_us - began_us) * peer.slowness
        done_ms = -int(-self._clock.now_us // 1000)
        self._agenda.after(done_ms - self._time.now, peer, partial(self._done, answers))

    def _search(self) -> tuple[LearnerAnswer, ...]:
        began_us = self._clock.now_us
        self._clock.charge(SLICE_US)
        answers = self._peer.learner.search()
        self._slice_us = self._clock.now_us - began_us
        self._share.on_search(self._slice_us)
        return answers

    def _handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        self._has_been_asked = True
        began_us = self._clock.now_us
        self._clock.charge(REQUEST_US)
        answers = self._peer.learner.handle(request)
        self._share.on_answer(request, self._clock.now_us - began_us)
        return answers

    def _done(self, answers: tuple[LearnerAnswer, ...]) -> None:
        incarnation = self._peer.incarnation
        for answer in answers:
            if self._peer.incarnation == incarnation and self._peer.is_running:
                self._answer(answer)
        if self._peer.incarnation == incarnation and self._peer.is_running:
            self._next()
