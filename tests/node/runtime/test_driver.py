"""The driver carries out effects in order, and nothing that follows a record happens before the record is durable."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from consensus.effects import (
    Broadcast,
    Effect,
    FetchAttachment,
    FetchState,
    Guard,
    Halt,
    Offence,
    PassOver,
    Record,
    Refuse,
    Send,
    SetTimer,
    SolvePuzzle,
    StopPuzzle,
    VerifyPuzzle,
)
from consensus.protocol import ClockRead, Input, PeerJoined, Received, TimerFired
from consensus.types import Instant, NetworkId, PeerId
from learning.learner import LearnerRequest
from node.runtime import driver as driver_module
from node.runtime.clock_watch import Jump, SystemClock
from node.runtime.coupling import Coupling
from node.runtime.driver import Driver, HaltedError, Ports
from node.storage.redo_log import REDO_LOG_NAME, read_redo_log
from node.storage.store import Store

ALICE = PeerId(b"a" * 32)


class Script:
    """An ordering machine that answers as it is told, and remembers what it was fed."""

    def __init__(self, answer: Callable[[Input], tuple[Effect, ...]], first: tuple[Effect, ...] = ()) -> None:
        self.fed: list[Input] = []
        self._answer = answer
        self._first = first

    def start(self, now: Instant) -> tuple[Effect, ...]:
        return self._first

    def handle(self, event: Input, now: Instant) -> tuple[Effect, ...]:
        self.fed.append(event)
        return self._answer(event)


class World:
    """Everything outside the driver: a real store, and a log of what was carried out with what was durable."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder / "kubrat.db")
        self.log: list[tuple[object, ...]] = []
        self.offset_ms = 0

    def now(self) -> Instant:
        return Instant(time.monotonic_ns() // 1_000_000)

    def wall_offset_ms(self) -> int:
        return self.offset_ms

    def durable(self) -> int:
        """Rows that another process would find now."""
        with sqlite3.connect(self.store.path) as other:
            count: int = other.execute("SELECT COUNT(*) FROM records").fetchone()[0]
        other.close()
        return count

    def signed_round(self) -> int:
        """What another process would find now."""
        return read_redo_log(self.store.path.with_name(REDO_LOG_NAME)).signed_round

    def send(self, peer: PeerId, message: bytes) -> None:
        self.log.append(("send", message, self.durable(), self.signed_round()))

    def broadcast(self, message: bytes) -> None:
        self.log.append(("broadcast", message, self.durable(), self.signed_round()))

    def refuse(self, peer: PeerId, offence: str, detail: str) -> None:
        self.log.append(("refuse", peer, offence, detail))

    def ask(self, request: LearnerRequest | SolvePuzzle | StopPuzzle | VerifyPuzzle) -> None:
        self.log.append(("ask", request))

    def fetch_payload(self, effect: FetchAttachment) -> None:
        self.log.append(("payload", effect.digest))

    def fetch_state(self, effect: FetchState) -> None:
        self.log.append(("state", effect.step))


def run(script: Script, folder: Path, feed: Callable[[Driver], None] = lambda _: None, seconds: float = 0.3) -> World:
    """Drive the script for a moment; whatever the driver raises comes through."""
    world = World(folder)

    async def drive() -> None:
        ports = Ports(clock=world, records=world.store, side_streams=world, outbox=world, learner=world, puzzle=world)
        driver = Driver(Coupling(script, NetworkId(bytes(32))), ports)
        driver.start()
        feed(driver)
        async with asyncio.timeout(seconds):
            await driver.run()

    try:
        asyncio.run(drive())
    except TimeoutError:
        pass
    finally:
        world.store.close()
    return world


def test_a_message_leaves_only_when_what_was_recorded_before_it_is_durable(tmp_path: Path) -> None:
    effects = (
        Record("t", b"1", b"x"),
        Record("t", b"2", b"x"),
        Broadcast(b"two"),
        Record("t", b"3", b"x"),
        Send(ALICE, b"three"),
    )
    world = run(Script(lambda _: (), effects), tmp_path)
    assert world.log == [("broadcast", b"two", 2, 0), ("send", b"three", 3, 0)]


def test_a_signed_round_is_durable_before_what_follows(tmp_path: Path) -> None:
    world = run(Script(lambda _: (), (Send(ALICE, b"before"), Guard(7), Send(ALICE, b"after"))), tmp_path)
    assert world.log == [("send", b"before", 0, 0), ("send", b"after", 0, 7)]


def test_effects_keep_their_order_whatever_they_are(tmp_path: Path) -> None:
    jobs = (SolvePuzzle(b"p", 1), StopPuzzle(), VerifyPuzzle(b"s" * 32, b"p", 9, 1))
    effects = (*jobs, Refuse(ALICE, Offence.FLOODING, "much"))
    world = run(Script(lambda _: (), effects), tmp_path)
    assert world.log == [*(("ask", job) for job in jobs), ("refuse", ALICE, Offence.FLOODING, "much")]


def test_a_timer_of_the_same_name_replaces_the_pending_one(tmp_path: Path) -> None:
    soon = World.now(None) + 100  # type: ignore[arg-type]
    script = Script(
        lambda _: (), (SetTimer("a", Instant(soon)), SetTimer("b", Instant(soon)), SetTimer("a", Instant(soon + 60_000)))
    )
    run(script, tmp_path, seconds=0.5)
    assert script.fed == [TimerFired("b")]


def test_a_machine_that_halts_ends_the_node_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(HaltedError, match="too deep"):
        run(Script(lambda _: (Halt("too deep"),)), tmp_path, lambda driver: driver.feed(PeerJoined(ALICE)))


def test_messages_are_dropped_while_the_backlog_is_full_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "EFFECTS_BACKLOG_MAX", 3)
    script = Script(lambda _: (StopPuzzle(), StopPuzzle()))
    dropped = []

    def feed(driver: Driver) -> None:
        assert [driver.on_message(ALICE, b"message") for _ in range(4)] == [True, True, False, False]
        driver.feed(PeerJoined(ALICE))
        dropped.append(driver.messages_dropped)

    run(script, tmp_path, feed)
    assert (script.fed, dropped) == ([Received(ALICE, b"message")] * 2 + [PeerJoined(ALICE)], [2])


def test_whoever_feeds_a_message_hears_whether_it_was_looked_at(tmp_path: Path) -> None:
    script = Script(lambda event: (PassOver(),) if event == Received(ALICE, b"too much") else ())

    def feed(driver: Driver) -> None:
        assert [driver.on_message(ALICE, message) for message in (b"too much", b"message")] == [False, True]

    assert run(script, tmp_path, feed).log == []


def test_a_mistake_of_the_machine_ends_the_node_though_only_a_timer_fed_it(tmp_path: Path) -> None:
    def err(_: Input) -> tuple[Effect, ...]:
        raise AssertionError("we erred")

    soon = Instant(World.now(None) + 50)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="we erred"):
        run(Script(err, (SetTimer("a", soon),)), tmp_path)


class SetClock(World):
    """The wall clock is put an hour back, then right again, between looks."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.readings = iter((0, 3, -3_600_000, -3_600_000, 2))

    def wall_offset_ms(self) -> int:
        return next(self.readings)


def test_the_machine_hears_of_a_jump_of_the_wall_clock_before_the_next_input_and_deadlines_do_not_move(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script, fed = Script(lambda _: ()), PeerJoined(ALICE)
    world = SetClock(tmp_path)
    ports = Ports(clock=world, records=world.store, side_streams=world, outbox=world, learner=world, puzzle=world)
    driver = Driver(Coupling(script, NetworkId(bytes(32))), ports)
    driver.start()
    for _ in range(4):
        driver.feed(fed)
    world.store.close()
    assert script.fed == [fed, ClockRead(-3_600_000), fed, fed, ClockRead(2), fed]
    assert driver.clock_watch.jump == Jump(by_ms=3_600_002, number=2)
    assert [record.message[:40] for record in caplog.records] == [
        "the wall clock jumped by -3,600.0 s (or ",
        "the wall clock jumped by +3,600.0 s (or ",
    ]


def test_a_message_of_a_peer_is_an_input_like_any_other_so_the_clock_is_looked_at_before_it(tmp_path: Path) -> None:
    script, heard = Script(lambda _: ()), Received(ALICE, b"block")
    world = SetClock(tmp_path)
    ports = Ports(clock=world, records=world.store, side_streams=world, outbox=world, learner=world, puzzle=world)
    driver = Driver(Coupling(script, NetworkId(bytes(32))), ports)
    driver.start()
    for _ in range(4):
        assert driver.on_message(ALICE, b"block")
    world.store.close()
    assert script.fed == [heard, ClockRead(-3_600_000), heard, heard, ClockRead(2), heard]


def test_what_measures_durations_goes_on_evenly_while_the_wall_clock_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    wall_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns)
    clock = SystemClock()
    before = clock.now()
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns - 3_600 * 10**9)
    assert 0 <= clock.now() - before < 60_000
    assert clock.now() + clock.wall_offset_ms() == pytest.approx(wall_ns // 10**6 - 3_600_000, abs=2)
    assert before == pytest.approx(wall_ns // 10**6, abs=1_000), "readable: it began as the wall clock had it"
