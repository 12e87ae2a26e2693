"""The miner: works on one puzzle at a time, in a process of its own, since the hash function holds the interpreter lock.

Verifying comes before mining; mining takes a set share of one core and rests in between.
"""

import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from consensus.proof_of_work.puzzle import is_solved
from consensus.protocol import PuzzleSolved, PuzzleVerified, SolvePuzzle, StopPuzzle, VerifyPuzzle

MINER_NICENESS = 10
"""The event loop and the checks of others' blocks go first when processors are scarce."""

NONCES = 2**64


@dataclass(frozen=True, slots=True)
class PuzzleSpec:
    """What a miner is told at its start. `share`: part of one core's time that mining may take, above 0 and up to 1."""

    memory_kib: int
    share: float


PuzzleRequest = SolvePuzzle | StopPuzzle | VerifyPuzzle
PuzzleAnswer = PuzzleSolved | PuzzleVerified


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


class _Miner:
    def __init__(self, pipe: Connection, spec: PuzzleSpec) -> None:
        self._pipe = pipe
        self._spec = spec
        self._job: SolvePuzzle | None = None
        self._nonce = 0
        self._rest_until = 0.0

    def work_once(self) -> None:
        """Take one request if there is one, else try one nonce, else wait."""
        if self._pipe.poll(self._seconds_to_wait()):
            self._take(self._pipe.recv())
        elif self._job is not None and time.monotonic() >= self._rest_until:
            self._try_nonce(self._job)

    def _seconds_to_wait(self) -> float | None:
        return None if self._job is None else max(0.0, self._rest_until - time.monotonic())

    def _take(self, request: PuzzleRequest) -> None:
        match request:
            case SolvePuzzle():
                self._job = request
                self._nonce = int.from_bytes(os.urandom(8), "big")
            case StopPuzzle():
                self._job = None
            case VerifyPuzzle(step, prefix, nonce, target):
                self._pipe.send(PuzzleVerified(step, is_solved(prefix, nonce, target, self._spec.memory_kib)))

    def _try_nonce(self, job: SolvePuzzle) -> None:
        started = time.monotonic()
        if is_solved(job.prefix, self._nonce, job.target, self._spec.memory_kib):
            self._job = None
            self._pipe.send(PuzzleSolved(job.prefix, self._nonce))
        self._nonce = (self._nonce + 1) % NONCES
        worked = time.monotonic() - started
        self._rest_until = time.monotonic() + worked * (1 - self._spec.share) / self._spec.share
