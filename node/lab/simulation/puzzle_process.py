"""One peer's puzzle process: solutions by chance, verifications in order and before all mining, as the real one does it."""

from collections.abc import Callable
from functools import partial

from consensus.effects import SolvePuzzle, VerifyPuzzle
from consensus.protocol import Input, PuzzleSolved, PuzzleVerified
from node.lab.simulation.links import Links
from node.lab.simulation.peer import Agenda, SimulatedPeer, TrueTime
from node.lab.simulation.puzzles import Puzzles

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
