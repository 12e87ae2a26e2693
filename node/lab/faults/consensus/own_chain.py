"""A chain of its own from the very beginning, for whoever is new (proof of work only)."""

from consensus.effects import Broadcast, Send
from consensus.encoding import MalformedBytesError
from consensus.proof_of_work.messages import MESSAGE_CODEC, Blocks, GetBlocks, GetHeaders
from consensus.protocol import Input, Received
from consensus.types import Instant
from node.lab.faults.consensus.interceptor import Effects


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
