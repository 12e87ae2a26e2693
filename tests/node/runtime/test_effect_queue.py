"""Whatever a machine wants, and whenever: one thing after the other, and rows that follow each other in one write."""

from collections.abc import Callable
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from consensus.effects import Guard, Record, Send, StopPuzzle
from consensus.types import PeerId
from learning.learner import AdoptRequest
from node.runtime.coupling import AskLearner, Forget, OuterEffect
from node.runtime.effect_queue import Batch, EffectQueue

ALICE = PeerId(b"a" * 32)

SHORT = st.binary(max_size=2)

EFFECTS = st.lists(
    st.one_of(
        SHORT.map(lambda key: Record("table", key, b"value")),
        SHORT.map(lambda key: Forget("table", key)),
        st.integers(1, 9).map(Guard),
        SHORT.map(lambda message: Send(ALICE, message)),
        SHORT.map(lambda step: AskLearner(AdoptRequest(step))),
        st.just(StopPuzzle()),
    ),
    max_size=20,
).map(tuple)

Pushed = tuple[OuterEffect, ...]


def is_row(effect: OuterEffect) -> bool:
    return isinstance(effect, Record | Forget | Guard)


def flat(steps: list[object]) -> Pushed:
    return tuple(effect for step in steps for effect in (step.effects if isinstance(step, Batch) else (step,)))


def taken(queue: EffectQueue, meanwhile: Callable[[], None] = lambda: None) -> list[object]:
    """All that happens, one after the other; `meanwhile` is called while each thing is under way."""
    steps: list[object] = []
    while (step := queue.take()) is not None:
        steps.append(step)
        meanwhile()
        queue.finish()
    return steps


@given(effects=EFFECTS)
def test_what_is_wanted_at_once_happens_in_order_and_rows_side_by_side_are_one_write(effects: Pushed) -> None:
    queue = EffectQueue()
    queue.push(effects)
    expected: list[object] = []
    for are_rows, side_by_side in groupby(effects, is_row):
        run = tuple(side_by_side)
        expected += (Batch(run),) if are_rows else run
    assert taken(queue) == expected
    assert queue.is_idle


@given(first=EFFECTS, later=st.lists(EFFECTS, max_size=8))
def test_what_comes_while_something_is_under_way_waits_for_it_and_keeps_its_place(first: Pushed, later: list[Pushed]) -> None:
    queue, coming, wanted = EffectQueue(), iter(later), list(first)

    def more_comes() -> None:
        more = next(coming, ())
        queue.push(more)
        wanted.extend(more)
        assert queue.take() is None, "one thing at a time"
        assert not queue.is_idle

    queue.push(first)
    assert flat(taken(queue, more_comes)) == tuple(wanted)


def test_a_batch_is_what_a_disk_takes_and_a_forgotten_row_has_no_value() -> None:
    batch = Batch((Record("table", b"kept", b"value"), Forget("table", b"gone")))
    assert batch.rows == (("table", b"kept", b"value"), ("table", b"gone", None))
    assert batch.signed_round is None


def test_the_round_that_is_about_to_be_signed_for_is_in_one_write_with_the_rows_beside_it() -> None:
    batch = Batch((Guard(7), Record("table", b"own", b"block"), Guard(8)))
    assert (batch.rows, batch.signed_round) == ((("table", b"own", b"block"),), 8)


def test_a_process_that_is_gone_wants_nothing() -> None:
    queue = EffectQueue()
    queue.push((Record("table", b"a", b"value"), Send(ALICE, b"after")))
    queue.take()
    assert len(queue) == 1
    queue.clear()
    assert (queue.is_idle, queue.take()) == (True, None)
