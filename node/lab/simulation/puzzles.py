"""Puzzles by chance: how long a solution takes is drawn, and a solution is right when somebody here has found it."""

from random import Random

from consensus.effects import SolvePuzzle

PUZZLE_SPACE = 2**256
"""How many digests there are."""

NONCE_BITS = 64

SOLUTIONS_MAX = 100_000
"""More blocks than any simulation asks about again; the oldest are forgotten first."""


class Puzzles:
    """The luck of all miners of one network."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._solutions: dict[tuple[bytes, int], int] = {}

    def solving_ms(self, job: SolvePuzzle, attempts_per_second: float) -> int:
        """How long this miner takes: attempts are independent, so the time is exponential."""
        attempts = PUZZLE_SPACE / (job.target + 1)
        return 1 + int(self._random.expovariate(attempts_per_second / attempts) * 1000)

    def solve(self, job: SolvePuzzle) -> int:
        """The nonce that the miner finds."""
        nonce = self._random.getrandbits(NONCE_BITS)
        self._solutions[job.prefix, nonce] = job.target
        if len(self._solutions) > SOLUTIONS_MAX:
            del self._solutions[next(iter(self._solutions))]
        return nonce

    def adopt(self, earlier: "Puzzles") -> None:
        """What was solved in an earlier simulation is solved in this one, too: a chain can be carried over."""
        self._solutions.update(earlier._solutions)

    def is_solved(self, prefix: bytes, nonce: int, target: int) -> bool:
        """Whether the work was done for a target no easier than this one."""
        solved = self._solutions.get((prefix, nonce))
        return solved is not None and solved <= target
