"""Faults that forge nothing: a peer that stops, never speaks, never answers, is late, or asks as often as anybody may."""

from collections import deque
from collections.abc import Callable

from consensus.effects import Broadcast, Send, SetTimer
from consensus.encoding import encode
from consensus.proof_of_work import messages as work
from consensus.protocol import Input, PeerJoined, PeerLeft
from consensus.steps import genesis_step
from consensus.total_order import messages as order
from consensus.types import Instant
from node.lab.faults.consensus.interceptor import Audience, Effects, ReplicaSituation, is_timer
from node.runtime.coupling import OuterEffect

HELD_MAX = 10_000
"""Messages that a slow peer holds back; the oldest are lost beyond it, as in a full queue. About 10 MB of blocks."""

SLOW_TIMER = "fault/slow"


class Crash:
    """Stops for ever, `after_ms` from its start, and leaves its connections open: others must find out by its silence.

    The crash-stop fault (Cachin, Guerraoui, Rodrigues, "Introduction to Reliable and Secure Distributed Programming", 2011,
    section 2.2). Powers: none.
    """

    def __init__(self, after_ms: int) -> None:
        self._after_ms = after_ms
        self._ends_at: Instant | None = None

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:
        """Until then, everything."""
        return () if self._has_ended(now) else (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:
        """Until then, everything; the learner's answers after it reach a stopped replica too."""
        return () if self._has_ended(now) else effects

    def _has_ended(self, now: Instant) -> bool:
        if self._ends_at is None:
            self._ends_at = Instant(now + self._after_ms)
        return now >= self._ends_at


class Mute:
    """Hears and works, and sends nothing: send omission (Cachin et al., as above). Powers: none."""

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """No message."""
        return tuple(effect for effect in effects if not isinstance(effect, Send | Broadcast))


class Unanswering:
    """Tells others of all that it has, and answers no request for it: receive omission of one kind. Powers: none.

    Who asks it must find out by a deadline, and ask somebody else; whatever moves that deadline keeps it from joining.
    """

    def __init__(self, situation: ReplicaSituation) -> None:
        self._is_answer = _is_order_answer if situation.members else _is_work_answer

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """No answer."""
        return tuple(effect for effect in effects if not (isinstance(effect, Send) and self._is_answer(effect.message)))


def _is_order_answer(message: bytes) -> bool:
    return isinstance(order.MESSAGE_CODEC.decode(message), order.Blocks | order.Commits | order.OwnBlocks)


def _is_work_answer(message: bytes) -> bool:
    return isinstance(work.MESSAGE_CODEC.decode(message), work.Headers | work.Blocks)


class Slow:
    """Sends every message `delay_ms` late, in order: a processor or a link that cannot keep up. Powers: none."""

    def __init__(self, delay_ms: int) -> None:
        self._delay_ms = delay_ms
        self._held: deque[tuple[Instant, OuterEffect]] = deque(maxlen=HELD_MAX)

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything; our own timer means nothing to an honest replica, so what is due is looked at in `say`."""
        return () if is_timer(event, SLOW_TIMER) else (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:
        """What is no message at once; the messages whose time has come."""
        prompt = tuple(effect for effect in effects if not isinstance(effect, Send | Broadcast))
        due = Instant(now + self._delay_ms)
        self._held.extend((due, effect) for effect in effects if isinstance(effect, Send | Broadcast))
        return (*prompt, *self._due(now), *self._next_timer())

    def _due(self, now: Instant) -> Effects:
        due: list[OuterEffect] = []
        while self._held and self._held[0][0] <= now:
            due.append(self._held.popleft()[1])
        return tuple(due)

    def _next_timer(self) -> Effects:
        return (SetTimer(SLOW_TIMER, self._held[0][0]),) if self._held else ()


ASKING_TIMER = "fault/asking"

PER_SECOND = 4
"""How often it asks everybody; each time for a quarter of what it asks in a second."""


class Asking:
    """Asks each peer `per_second` times a second for the whole chain, or all commits, from their beginning on.

    Each question is small, within what one peer is allowed, and its answer large. Who answers all of them together has no time
    left. Powers: none; an outsider may do it.
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
