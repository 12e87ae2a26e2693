"""The driver's ways to the two processes of its peer (the ports `learner` and `puzzle` of `node.runtime.ports`)."""

from consensus.effects import SolvePuzzle, StopPuzzle, VerifyPuzzle
from learning.learner import LearnerRequest
from node.processes.learner import LearnerMessage, LearnerSpec
from node.processes.process import WorkerProcess
from node.processes.puzzle import PuzzleAnswer, PuzzleRequest, PuzzleSpec

LearnerWorker = WorkerProcess[LearnerSpec, LearnerRequest, LearnerMessage]
PuzzleWorker = WorkerProcess[PuzzleSpec, PuzzleRequest, PuzzleAnswer]


class LearnerProcess:
    """To the learner's process."""

    def __init__(self, worker: LearnerWorker) -> None:
        self._worker = worker

    def ask(self, request: LearnerRequest) -> None:
        """Hand it over; it is answered in its turn."""
        self._worker.ask(request)


class PuzzleProcess:
    """To the miner's process."""

    def __init__(self, worker: PuzzleWorker) -> None:
        self._worker = worker

    def solve(self, job: SolvePuzzle) -> None:
        """Work on this puzzle instead of another one."""
        self._worker.ask(job)

    def stop(self) -> None:
        """Work on none."""
        self._worker.ask(StopPuzzle())

    def verify(self, job: VerifyPuzzle) -> None:
        """Check somebody's solution."""
        self._worker.ask(job)


class NoPuzzles:
    """Where there is no such process: a total order works on no puzzles."""

    def solve(self, job: SolvePuzzle) -> None:
        """Never asked."""
        raise AssertionError(f"asked for a puzzle: {job}")

    def stop(self) -> None:
        """Never asked."""
        raise AssertionError("asked to stop a puzzle")

    def verify(self, job: VerifyPuzzle) -> None:
        """Never asked."""
        raise AssertionError(f"asked for a puzzle: {job}")
