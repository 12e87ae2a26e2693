"""What the ordering machine hears of its learner's part: what that says, and that it hears something just now."""

from consensus.effects import Deliver, Effect
from consensus.protocol import Input, LearnerPartDue, TimerFired
from consensus.steps import DeliveredContribution, DeliveredStep
from consensus.types import Digest, Height, Instant, NetworkId, PeerId, StepId, WallTime
from learning.learner import OwnPartDue, StepApplied
from node.runtime.coupling import Coupling

NOW = Instant(0)
ITEM = DeliveredContribution(PeerId(b"a" * 32), StepId(b"s" * 32), b"payload", Digest(b"d" * 32), ())


class Order:
    """Delivers at each timer the step that it is given, and remembers what it hears of the learner."""

    def __init__(self) -> None:
        self.step: DeliveredStep | None = None
        self.heard: list[bool] = []

    def start(self, now: Instant) -> tuple[Effect, ...]:
        return ()

    def handle(self, event: Input, now: Instant) -> tuple[Effect, ...]:
        if isinstance(event, LearnerPartDue):
            self.heard.append(event.is_due)
        return (Deliver(self.step),) if isinstance(event, TimerFired) and self.step is not None else ()


def deliver(coupling: Coupling, order: Order, height: int, *items: DeliveredContribution) -> None:
    step = bytes([height]) * 32
    order.step = DeliveredStep(StepId(step), StepId(step), Height(height), WallTime(0), items)
    coupling.handle(TimerFired("commit"), NOW)


def test_it_is_told_once_and_nothing_where_the_learner_says_nothing_of_it() -> None:
    order = Order()
    coupling = Coupling(order, NetworkId(bytes(32)))
    deliver(coupling, order, 1, ITEM)
    coupling.handle_answer(StepApplied(1), NOW)
    assert order.heard == []
    for is_due in (True, True, False, False):
        coupling.handle_answer(OwnPartDue(is_due), NOW)
    assert order.heard == [True, False]


def test_while_the_learner_hears_what_others_have_said_something_of_its_own_is_expected() -> None:
    order = Order()
    coupling = Coupling(order, NetworkId(bytes(32)))
    coupling.handle_answer(OwnPartDue(False), NOW)
    deliver(coupling, order, 1)
    assert order.heard == [False], "an empty commit is nobody's turn"
    deliver(coupling, order, 2, ITEM)
    coupling.handle_answer(StepApplied(1), NOW)
    assert order.heard == [False, True]
    coupling.handle_answer(StepApplied(2), NOW)
    deliver(coupling, order, 3, ITEM)
    coupling.handle_answer(OwnPartDue(True), NOW)
    coupling.handle_answer(StepApplied(3), NOW)
    assert order.heard == [False, True, False, True]
