"""Virtual time: it jumps, it is the same each time, and it does not go on for ever."""

import asyncio

import pytest

from node.lab.simulation.sockets import loop as loop_module
from node.lab.simulation.sockets.loop import StandstillError, VirtualLoop
from tests.node.lab.simulation.sockets.machines import virtual_loop


def test_a_day_takes_no_time_and_everything_happens_when_it_is_due() -> None:
    happened = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        happened.append((seconds, asyncio.get_running_loop().time()))

    with virtual_loop() as loop:
        for seconds in (86_400.0, 0.5, 3.25):
            loop.create_task(sleep(seconds))
        loop.run_for(86_401)
    assert happened == [(0.5, 0.5), (3.25, 3.25), (86_400.0, 86_400.0)]


def test_what_a_thread_would_do_is_done_at_once() -> None:
    async def work() -> tuple[int, float]:
        answer = await asyncio.to_thread(lambda: 42)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return answer, asyncio.get_running_loop().time()

    with virtual_loop() as loop:
        assert loop.run_until_complete(work()) == (42, 0.0)


def test_a_limit_of_time_holds() -> None:
    async def wait() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().create_future()
        return asyncio.get_running_loop().time()

    with virtual_loop() as loop:
        assert loop.run_until_complete(wait()) == 5.0


def test_who_waits_for_nothing_is_told_so() -> None:
    loop = VirtualLoop()
    waiting = loop.create_future()
    with pytest.raises(StandstillError, match="nobody waits"):
        loop.run_until_complete(waiting)
    loop.close()


def test_who_never_waits_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def spin() -> None:
        while True:  # noqa: ASYNC110 - that is the mistake
            await asyncio.sleep(0)

    monkeypatch.setattr(loop_module, "BUSY_ROUNDS_MAX", 1_000)
    loop = VirtualLoop()
    spinning = loop.create_task(spin())
    with pytest.raises(StandstillError, match="at one instant"):
        loop.run_for(1)
    spinning.cancel()
    loop.run_for(0)
    loop.close()
