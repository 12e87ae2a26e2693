"""One peer's learner as the process that it is: requests in order, one at a time, and search in the time that is left."""

from collections.abc import Callable

from learning.learner import LearnerAnswer, LearnerRequest
from node.lab.simulation.links import Links
from node.lab.simulation.peer import Agenda, SimulatedPeer
from node.processes.learner import SearchShare


class LearnerDesk:
    """Asks the learner. `answer` hears each answer."""

    def __init__(self, peer: SimulatedPeer, agenda: Agenda, links: Links, answer: Callable[[LearnerAnswer], None]) -> None:
        self._peer = peer
        self._agenda = agenda
        self._links = links
        self._answer = answer
        self._share = SearchShare()

    def start(self, first: tuple[LearnerRequest, ...]) -> None:
        """A new incarnation: nothing is asked yet but `first`."""
        self._peer.requests.clear()
        self._peer.is_learner_busy = self._peer.has_slice_planned = False
        self._share = SearchShare()
        for request in first:
            self.ask(request)
        self._plan_slice()

    def ask(self, request: LearnerRequest) -> None:
        """Put a request behind those that wait."""
        self._peer.requests.append(request)
        if not self._peer.is_learner_busy:
            self._next()

    def _next(self) -> None:
        self._peer.is_learner_busy = bool(self._peer.requests)
        if self._peer.requests:
            self._agenda.after(self._lasting(self._links.answer_ms), self._peer, self._handle)
        else:
            self._share.on_rest()

    def _handle(self) -> None:
        request = self._peer.requests.popleft()
        answers = self._peer.learner.handle(request)
        self._share.on_answer(request, self._lasting(self._links.answer_ms))
        if self._peer.requests and self._peer.learner.is_searching and self._share.is_due(self._slice_ms):
            self._agenda.after(self._slice_ms, self._peer, self._search_between)
        else:
            self._next()
        self._tell(answers)
        self._plan_slice()

    def _search_between(self) -> None:
        """One slice though requests wait."""
        self._share.on_search(self._slice_ms)
        answers = self._peer.learner.search() if self._peer.learner.is_searching else ()
        self._next()
        self._tell(answers)

    def _plan_slice(self) -> None:
        if self._peer.learner.is_searching and not self._peer.has_slice_planned:
            self._peer.has_slice_planned = True
            self._agenda.after(self._slice_ms, self._peer, self._search)

    def _search(self) -> None:
        """One slice, unless a request is being answered."""
        self._peer.has_slice_planned = False
        if not self._peer.is_learner_busy and self._peer.learner.is_searching:
            self._tell(self._peer.learner.search())
        self._plan_slice()

    def _tell(self, answers: tuple[LearnerAnswer, ...]) -> None:
        incarnation = self._peer.incarnation
        for answer in answers:
            if self._peer.incarnation == incarnation and self._peer.is_running:
                self._answer(answer)

    @property
    def _slice_ms(self) -> int:
        return self._lasting(self._links.slice_ms)

    def _lasting(self, usual_ms: int) -> int:
        return round(usual_ms * self._peer.slowness)
