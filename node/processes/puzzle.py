"""The miner: works on one puzzle at a time, in a process of its own, since the hash function holds the interpreter lock.

Mining takes a set share of one core and rests in between. Others' puzzles are verified first, but while there is something to
mine one nonce is tried after each of them: however many come, mining keeps half of the work.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from consensus.effects import SolvePuzzle, StopPuzzle, VerifyPuzzle
from consensus.proof_of_work.puzzle import is_solved
from consensus.protocol import PuzzleSolved, PuzzleVerified
from node.processes.process import WorkerProcess

MINER_NICENESS = 5
"""As the search of the same peer (`LEARNER_NICENESS`), and behind the event loop. Behind the search, at 10, a miner on a busy
machine comes to a fiftieth of its share, and its peer leads no blocks. Before it, at 0, blocks come while hardly anybody has
searched: four peers on two busy cores then searched a third as much. Checks of others' blocks are made in this process, too."""

NONCES = 2**64


@dataclass(frozen=True, slots=True)
class PuzzleSpec:
    """What a miner is told at its start. `share`: part of one core's time that mining may take, above 0 and up to 1."""

    memory_kib: int
    share: float


PuzzleRequest = SolvePuzzle | StopPuzzle | VerifyPuzzle
PuzzleAnswer = PuzzleSolved | PuzzleVerified
PuzzleWorker = WorkerProcess[PuzzleSpec, PuzzleRequest, PuzzleAnswer]


def run_puzzle_process(pipe: Connection, spec: PuzzleSpec) -> None:
    """The process's whole life: ends when the pipe is closed from the other side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(MINER_NICENESS)
    miner = _Miner(pipe, spec)
    try:
        while True:
            miner.work_once()
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the node has ended, and we with it
        return


class DutyCycle:
    """When to rest, so that mining takes `share` of one core. `now`: seconds that pass; `worked`: seconds that we were given.

    The rest follows from the time that we were given: an attempt that took long because others had the processor is not paid
    for twice.
    """

    def __init__(self, share: float, now: Callable[[], float], worked: Callable[[], float]) -> None:
        self._rest_per_work = (1 - share) / share
        self._now = now
        self._worked = worked
        self._worked_before = 0.0
        self._rest_until = 0.0

    def begin(self) -> None:
        """An attempt begins."""
        self._worked_before = self._worked()

    def end(self) -> None:
        """It has ended."""
        self._rest_until = self._now() + (self._worked() - self._worked_before) * self._rest_per_work

    def seconds_to_rest(self) -> float:
        """How long until the next attempt; 0: now."""
        return max(0.0, self._rest_until - self._now())


class _Miner:
    def __init__(self, pipe: Connection, spec: PuzzleSpec) -> None:
        self._pipe = pipe
        self._spec = spec
        self._job: SolvePuzzle | None = None
        self._nonce = 0
        self._pace = DutyCycle(spec.share, time.monotonic, time.process_time)
        self._has_verified = False
        """Since the last nonce was tried."""

    def work_once(self) -> None:
        """Take one request if there is one, else try one nonce, else wait. After a verification a due nonce comes first."""
        is_nonce_first = self._has_verified and self._job is not None and self._pace.seconds_to_rest() == 0.0
        if not is_nonce_first and self._pipe.poll(self._seconds_to_wait()):
            self._take(self._pipe.recv())
        elif self._job is not None and self._pace.seconds_to_rest() == 0.0:
            self._try_nonce(self._job)

    def _seconds_to_wait(self) -> float | None:
        return None if self._job is None else self._pace.seconds_to_rest()

    def _take(self, request: PuzzleRequest) -> None:
        match request:
            case SolvePuzzle():
                self._job = request
                self._nonce = int.from_bytes(os.urandom(8), "big")
            case StopPuzzle():
                self._job = None
            case VerifyPuzzle(step, prefix, nonce, target):
                self._pipe.send(PuzzleVerified(step, is_solved(prefix, nonce, target, self._spec.memory_kib)))
                self._has_verified = True

    def _try_nonce(self, job: SolvePuzzle) -> None:
        self._has_verified = False
        self._pace.begin()
        if is_solved(job.prefix, self._nonce, job.target, self._spec.memory_kib):
            self._job = None
            self._pipe.send(PuzzleSolved(job.prefix, self._nonce))
        self._nonce = (self._nonce + 1) % NONCES
        self._pace.end()
