"""Names in the order of their times, against a plain dictionary; and what the queue is for: inventions cost little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.effects import Send, SetTimer
from consensus.encoding import encode
from consensus.protocol import PeerJoined, Received, TimerFired
from consensus.total_order.block import Reference
from consensus.total_order.machine import SYNC_MS, TotalOrder
from consensus.total_order.messages import BlockMessage, Blocks, GetBlocks
from consensus.total_order.synchroniser import (
    FETCH_TIMER,
    GRACE_MS,
    LOOKED_AT_MAX,
    PAUSE_MS_MAX,
    STALE_MAX,
    DueQueue,
    Synchroniser,
)
from consensus.types import Instant
from node.lab.checkers.bounds import sizes_of
from tests.consensus.total_order.forge import NETWORK, START_MS, Forge, own_first, people, person, stub_sign, stub_verify
from tests.consensus.total_order.network import RULES, Disk, read
from tests.consensus.total_order.test_false_parents import ROUNDS, UNKNOWN, naming, watcher_of
from tests.consensus.total_order.test_machine import FIRST, FORGE, NOW, One

NAMES = st.sampled_from([bytes([number]) for number in range(6)])
ACTIONS = st.one_of(
    st.tuples(st.just("put"), NAMES, st.integers(0, 20)),
    st.tuples(st.just("drop"), NAMES, st.just(0)),
    st.tuples(st.just("take"), st.just(b""), st.integers(0, 20)),
)


@given(st.lists(ACTIONS, max_size=200), st.integers(1, 8))
def test_it_is_a_dictionary_that_gives_what_is_due_in_order(actions: list[tuple[str, bytes, int]], count_max: int) -> None:
    queue, model, turn = DueQueue(), dict[bytes, tuple[int, int]](), 0
    for action, name, at in actions:
        if action == "put":
            turn += 1
            queue.put(name, Instant(at))
            model[name] = (at, turn)
        elif action == "drop":
            queue.drop(name)
            model.pop(name, None)
        else:
            expected = sorted((due, name) for name, due in model.items() if due[0] <= at)[:count_max]
            assert queue.take(Instant(at), count_max) == [name for _, name in expected]
            for _, taken in expected:
                del model[taken]
        assert len(queue) == len(model)
        assert queue.first == min((due for due, _ in model.values()), default=None)


def test_entries_that_hold_no_more_are_cleared_away() -> None:
    queue = DueQueue()
    for number in range(10_000):
        queue.put(b"name", Instant(number))
    assert sizes_of(queue)["DueQueue._heap"] <= 2 + STALE_MAX
    assert queue.take(Instant(9_998), 1) == []
    assert queue.take(Instant(9_999), 1) == [b"name"]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many missing blocks are looked at, one by one."""
    seen: list[int] = []
    look_at = Synchroniser._look_at  # a look that leads to nothing shows nowhere

    def counted(self: Synchroniser, *arguments: object) -> None:
        seen.append(1)
        look_at(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Synchroniser, "_look_at", counted)
    return seen


def test_thousands_of_invented_parents_cost_a_bounded_look_now_and_then(looks: list[int]) -> None:
    """Member 5 of 64 signs 30 blocks whose parents are its own invention; nobody has any of them."""
    members, liar = people(64), 5
    forge = Forge(64, is_real=False)
    machine = TotalOrder(
        rules=RULES,
        network_id=NETWORK,
        members=tuple(member.id for member in members),
        identity=person("observer").id,
        sign=stub_sign(person("observer").id),
        seed=b"",
        archive=Disk(),
        verify=stub_verify,
    )
    now = START_MS
    machine.start(Instant(now))
    for member in members:
        machine.handle(PeerJoined(member.id), Instant(now))
    for number in range(2, 32):
        parents = own_first(liar, [Reference(number - 1, author, bytes([number, author]) * 16) for author in range(64)])
        block = forge.block(liar, number, parents).block
        machine.handle(Received(members[liar].id, encode(BlockMessage(block))), Instant(now))
    assert machine.status.missing == 30 * 64
    seconds = 12
    for step in range(0, seconds * 1_000, 10):
        now += 10
        for name in (FETCH_TIMER, *(["sync"] if step % SYNC_MS == 0 else [])):
            before = len(looks)
            machine.handle(TimerFired(name), Instant(now))
            assert len(looks) - before <= LOOKED_AT_MAX
    assert 0 < len(looks) <= 2 * seconds * machine.status.missing


def test_what_nobody_has_is_asked_for_ever_less_often() -> None:
    one = watcher_of(ROUNDS)
    effects = one.show(naming(ROUNDS, Reference(3, 3, UNKNOWN), author=3), by=1)
    asked_at: list[int] = []
    for now in range(NOW, NOW + 60_000, 50):
        effects += one.do(one.machine.handle(TimerFired(FETCH_TIMER), Instant(now)))
        requests = [(effect.peer, read(effect.message)) for effect in effects if isinstance(effect, Send)]
        effects = []
        for peer, request in requests:
            if isinstance(request, GetBlocks):
                asked_at.append(now - NOW)
                effects += one.say(peer, Blocks(request.number, ()), now)
    in_thirds = [sum(third <= at // 20_000 < third + 1 for at in asked_at) for third in range(3)]
    asked_in_a_third_max = 20_000 // PAUSE_MS_MAX * 3
    assert in_thirds[0] > max(in_thirds[1:])
    assert 0 < in_thirds[2] <= asked_in_a_third_max


def test_a_timer_is_set_for_what_is_due_a_little_later() -> None:
    """A parent's author is connected: it has a moment to deliver it unasked."""
    one = One()
    effects = one.show(FORGE.on(1, FIRST[1:]))
    assert [effect.at for effect in effects if isinstance(effect, SetTimer) and effect.name == FETCH_TIMER] == [NOW + GRACE_MS]
    assert [effect for effect in effects if isinstance(effect, Send) and isinstance(read(effect.message), GetBlocks)] == []
    effects = one.do(one.machine.handle(TimerFired(FETCH_TIMER), Instant(NOW + GRACE_MS)))
    asked = [read(effect.message) for effect in effects if isinstance(effect, Send)]
    assert {name for request in asked if isinstance(request, GetBlocks) for name in request.references} == {
        block.reference for block in FIRST[1:]
    }
