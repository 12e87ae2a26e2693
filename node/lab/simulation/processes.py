"""The processes of one peer: its puzzle process, by chance, and its learner.

How long a solution takes is drawn, and a solution is right when somebody here has found it; verifications go in order,
and before all mining. A learner answers requests in order, one at a time, and searches in the time that is left.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Protocol

from consensus.effects import SolvePuzzle, VerifyPuzzle
from consensus.protocol import Input, PuzzleSolved, PuzzleVerified
from learning.learner import LearnerAnswer, LearnerRequest
from node.common.bounded import BoundedMap
from node.lab.simulation.links import Links
from node.lab.simulation.peer import Agenda, SimulatedPeer, TrueTime
from node.processes.learner import SearchShare

PUZZLE_SPACE = 2**256
"""How many digests there are."""

NONCE_BITS = 64

SOLUTIONS_MAX = 100_000
"""More blocks than any simulation asks about again; the oldest are forgotten first."""


class Puzzles:
    """The luck of all miners of one network."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._solutions: BoundedMap[tuple[bytes, int], int] = BoundedMap(SOLUTIONS_MAX)

    def solving_ms(self, job: SolvePuzzle, attempts_per_second: float) -> int:
        """How long this miner takes: attempts are independent, so the time is exponential."""
        attempts = PUZZLE_SPACE / (job.target + 1)
        return 1 + int(self._random.expovariate(attempts_per_second / attempts) * 1000)

    def solve(self, job: SolvePuzzle) -> int:
        """The nonce that the miner finds."""
        nonce = self._random.getrandbits(NONCE_BITS)
        self._solutions[job.prefix, nonce] = job.target
        return nonce

    def adopt(self, earlier: "Puzzles") -> None:
        """What was solved in an earlier simulation is solved in this one, too: a chain can be carried over."""
        for work, target in earlier._solutions.items():
            self._solutions[work] = target

    def is_solved(self, prefix: bytes, nonce: int, target: int) -> bool:
        """Whether the work was done for a target no easier than this one."""
        solved = self._solutions.get((prefix, nonce))
        return solved is not None and solved <= target


SOLVING_MS_MAX = 5_000
"""No solution is planned further ahead: each of a thousand peers renews its puzzle once a second, and would leave a plan for
the next hours behind every time."""


class PuzzleDesk:
    """Works on one puzzle at a time. `feed` hears of solutions and verifications."""

    def __init__(  # noqa: PLR0917 - what a peer's process lives in
        self, peer: SimulatedPeer, agenda: Agenda, time: TrueTime, links: Links, puzzles: Puzzles, feed: Callable[[Input], None]
    ) -> None:
        self._peer = peer
        self._agenda = agenda
        self._time = time
        self._links = links
        self._puzzles = puzzles
        self._feed = feed

    def solve(self, job: SolvePuzzle) -> None:
        """Work on this puzzle instead of the present one.

        Drawn anew after a while, if it is still this puzzle: attempts have no memory, and most are replaced before.
        """
        peer = self._peer
        peer.puzzle = job
        solving_ms = self._puzzles.solving_ms(job, self._links.attempts_per_second / peer.slowness)
        if solving_ms <= SOLVING_MS_MAX:
            self._mine_for(solving_ms, job)
        else:
            self._agenda.after(SOLVING_MS_MAX, peer, partial(self._go_on, job))

    def verify(self, job: VerifyPuzzle) -> None:
        """Say later whether it is solved."""
        verified = PuzzleVerified(job.step, self._puzzles.is_solved(job.prefix, job.nonce, job.target))
        self._agenda.after(self._verifying_ms(), self._peer, partial(self._feed, verified))

    def _verifying_ms(self) -> int:
        peer, price_us = self._peer, self._links.prices.puzzle_us
        if not price_us:
            return round(self._links.answer_ms * peer.slowness)
        return peer.puzzle_core.take(self._time.now, price_us * peer.slowness)

    def _mine_for(self, mining_ms: int, job: SolvePuzzle) -> None:
        """So much time of its own, behind what waits to be verified."""
        core = self._peer.puzzle_core
        delay_ms = core.backlog_ms(self._time.now) + mining_ms
        self._agenda.after(delay_ms, self._peer, partial(self._mined, job, core.worked_us))

    def _mined(self, job: SolvePuzzle, worked_us: int) -> None:
        """Unless verifications have come between: then mining has lost their time."""
        peer = self._peer
        if peer.puzzle is not job:
            return
        lost_ms = -(-(peer.puzzle_core.worked_us - worked_us) // 1000)
        if lost_ms > 0:
            self._mine_for(max(1, lost_ms - peer.puzzle_core.backlog_ms(self._time.now)), job)
            return
        peer.puzzle = None
        self._feed(PuzzleSolved(job.prefix, self._puzzles.solve(job)))

    def _go_on(self, job: SolvePuzzle) -> None:
        if self._peer.puzzle is job:
            self.solve(job)


class Desk(Protocol):
    """Asks the learner."""

    def start(self, first: tuple[LearnerRequest, ...]) -> None:
        """A new incarnation: nothing is asked yet but `first`."""
        ...

    def ask(self, request: LearnerRequest) -> None:
        """Put a request behind those that wait."""
        ...


class LearnerDesk:
    """Each answer takes as long as another, and so does each slice of search. `answer` hears each answer."""

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
