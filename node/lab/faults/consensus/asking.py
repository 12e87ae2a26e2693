"""Questions as often as anybody may ask, and nothing else."""

from collections.abc import Callable

from consensus.effects import Send, SetTimer
from consensus.encoding import encode
from consensus.proof_of_work import messages as work
from consensus.protocol import Input, PeerJoined, PeerLeft
from consensus.steps import genesis_step
from consensus.total_order import messages as order
from consensus.types import Instant
from node.lab.faults.consensus.interceptor import Effects, is_timer
from node.lab.faults.consensus.partition import Audience
from node.lab.faults.consensus.situation import ReplicaSituation

ASKING_TIMER = "fault/asking"

PER_SECOND = 4
"""How often it asks everybody; each time for a quarter of what it asks in a second."""


class Asking:
    """Asks each peer `per_second` times a second for the whole chain, or all commits, from their beginning on.

    Each question is small, within what one peer is allowed, and its answer large. Who answers all of them together has no time
    left. Powers: none; a stranger may do it.
    """

    def __init__(self, per_second: int, situation: ReplicaSituation) -> None:
        self._at_once = max(1, per_second // PER_SECOND)
        self._everybody = Audience(1.0)
        self._question = _order_question if situation.members else _work_question(situation)
        self._asked = 0
        self._is_due = True

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Who is there, and nothing that is said."""
        if is_timer(event, ASKING_TIMER):
            self._is_due = True
            return ()
        self._everybody.note(event)
        return (event,) if isinstance(event, PeerJoined | PeerLeft) else ()

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """Questions when their time has come, and nothing else."""
        if not self._is_due:
            return ()
        self._is_due = False
        questions: list[Send] = []
        for peer in self._everybody.connected(chosen=True):
            for _ in range(self._at_once):
                self._asked += 1
                questions.append(Send(peer, self._question(self._asked)))
        return (*questions, SetTimer(ASKING_TIMER, Instant(now + 1000 // PER_SECOND)))


def _order_question(number: int) -> bytes:
    return encode(order.GetCommits(number, 1))


def _work_question(situation: ReplicaSituation) -> Callable[[int], bytes]:
    question = encode(work.GetHeaders((work.Place(0, genesis_step(situation.network_id)),)))
    return lambda _: question
