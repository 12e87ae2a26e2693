"""Work that is sound and serves its maker alone: blocks kept back, a chain of its own, blocks thrown away (proof of work only).

A private branch is shown when others have caught up with it. The id of a block selects the next scoring batch, so a leader may
grind: throw away those blocks that it does not like.
"""

from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from consensus.effects import Broadcast, Send
from consensus.encoding import MalformedBytesError
from consensus.proof_of_work.messages import (
    MESSAGE_BYTES_MAX,
    MESSAGE_CODEC,
    BlockMessage,
    Blocks,
    GetBlocks,
    GetHeaders,
    Headers,
    Tip,
)
from consensus.proof_of_work.puzzle import NONCE_BYTES
from consensus.protocol import Input, PuzzleSolved, Received
from consensus.types import Instant
from node.lab.faults.consensus.interceptor import Effects, OwnWorkBlocks
from node.runtime.coupling import OuterEffect


class Policy(Enum):
    """What is shown when somebody else's block has come."""

    SELFISH = "all, once the lead is down to one block; else what matches"
    """Eyal, Sirer, "Majority is not Enough: Bitcoin Mining is Vulnerable", FC 2014, algorithm 1."""
    MATCHING = "what matches, so that as many heads as possible move"
    """Lead-stubborn mining: Nayak, Kumar, Miller, Shi, "Stubborn Mining", EuroS&P 2016, section 3."""


@dataclass(frozen=True, slots=True)
class _Private:
    height: int
    block: Broadcast


class PrivateChain:
    """Works on a branch that nobody knows of (proof of work only). Powers: its own work, and what it hears.

    It tells of its branch by no tip, header or block before it is shown; `lead_max` blocks ahead it shows all of it.
    """

    def __init__(self, policy: Policy, lead_max: int, own_blocks: OwnWorkBlocks) -> None:
        self._policy = policy
        self._lead_max = lead_max
        self._own_blocks = own_blocks
        self._private: list[_Private] = []
        self._public_height = 0
        self._has_moved = False
        """Others have found a block, and we have not answered it."""
        self._raced_at: int | None = None
        """We have shown a block of this height against another one: the next one of ours decides, and is shown at once."""

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        if isinstance(event, Received):
            height = self._height_in(event.message)
            if height > self._public_height:
                self._public_height, self._has_moved = height, True
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """What does not betray the private branch, and the blocks of it that are shown now."""
        said: list[OuterEffect] = []
        for effect in effects:
            match effect:
                case Broadcast(message) if (height := self._own_blocks.pushed(message)) is not None:
                    self._private.append(_Private(height, effect))
                case Send(_, message) if self._betrays(message):
                    pass
                case _:
                    said.append(effect)
        return (*said, *self._show())

    def _show(self) -> Effects:
        if not self._private:
            self._has_moved = False
            return ()
        tip = self._private[-1].height
        if self._is_all_to_be_shown(tip):
            return self._show_up_to(tip)
        if not self._has_moved:
            return ()
        self._has_moved = False
        if tip <= self._public_height:
            self._raced_at = tip
        return self._show_up_to(self._public_height)

    def _is_all_to_be_shown(self, tip: int) -> bool:
        lead = tip - self._public_height
        if self._policy is Policy.SELFISH and (self._raced_at == tip - 1 or (self._has_moved and lead == 1)):
            return True
        return lead >= self._lead_max

    def _show_up_to(self, height: int) -> Effects:
        shown = tuple(private.block for private in self._private if private.height <= height)
        self._private = [private for private in self._private if private.height > height]
        if not self._private:
            self._has_moved = False
            self._public_height = max(height, self._public_height)
        return shown

    def _betrays(self, message: bytes) -> bool:
        """Whether this message, of ours, tells of blocks that are private."""
        if not self._private:
            return False
        lowest = self._private[0].height
        decoded = MESSAGE_CODEC.decode(message)
        if isinstance(decoded, Tip):
            return decoded.height >= lowest
        return any(height >= lowest for height in self._own_blocks.carried(message))

    def _height_in(self, message: bytes) -> int:
        """The highest block or header that somebody has shown us; 0 where there is none."""
        if len(message) > MESSAGE_BYTES_MAX:
            return 0
        try:
            decoded = MESSAGE_CODEC.decode(message)
        except MalformedBytesError:  # the honest machine judges it
            return 0
        match decoded:
            case BlockMessage(block):
                return block.header.height
            case Headers(headers) if headers:
                return headers[-1].height
            case _:
                return 0


class CheapRivals:
    """Works alone on a chain of its own from genesis, and shows it to who asks; with bodies, or its headers alone.

    It costs little: alone, its difficulty falls. Who has the others' chain never looks at it; a newcomer has less work at first
    than it has, and may wait for its bodies, make its blocks final, or halt at its branch. Source: the low-difficulty chains
    that Bitcoin Core guards its header sync against ("headers presync", 2022). Powers: its own work.
    """

    def __init__(self, *, gives_bodies: bool) -> None:
        self._gives_bodies = gives_bodies

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Nothing of others' blocks: only what they ask."""
        return () if isinstance(event, Received) and not _is_request(event.message) else (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """Answers; bodies only where it gives them."""
        return tuple(effect for effect in effects if not isinstance(effect, Broadcast) and not self._is_kept_back(effect))

    def _is_kept_back(self, effect: object) -> bool:
        return not self._gives_bodies and isinstance(effect, Send) and isinstance(MESSAGE_CODEC.decode(effect.message), Blocks)


def _is_request(message: bytes) -> bool:
    try:
        return isinstance(MESSAGE_CODEC.decode(message), GetHeaders | GetBlocks)
    except MalformedBytesError:  # another liar's
        return False


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
