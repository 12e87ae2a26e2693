"""Grinding: the id of a block selects the next scoring batch, so a leader may throw away those that it does not like."""

from hashlib import blake2b

from consensus.proof_of_work.puzzle import NONCE_BYTES
from consensus.protocol import Input, PuzzleSolved
from consensus.types import Instant
from node.lab.faults.consensus.interceptor import Effects


class SeedGrinder:
    """Throws away all but one in 2**`bits` of the puzzles that it has solved: each try at another batch costs a whole puzzle.

    Source: grinding of a beacon that is drawn from block hashes (Bonneau, Clark, Goldfeder, "On Bitcoin as a public randomness
    source", ePrint 2015/1015). Powers: none. What it likes is stood in for by a hash of the solution, so it is as rare as any
    taste of `bits` bits.
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """All but the solutions that it throws away."""
        is_unwanted = isinstance(event, PuzzleSolved) and not self._is_liked(event)
        return () if is_unwanted else (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """Everything; the machine asks for a new puzzle when the time in its header is renewed."""
        return effects

    def _is_liked(self, solution: PuzzleSolved) -> bool:
        taste = blake2b(solution.prefix + solution.nonce.to_bytes(NONCE_BYTES, "big"), digest_size=8).digest()
        return int.from_bytes(taste, "big") >> (64 - self._bits) == 0
