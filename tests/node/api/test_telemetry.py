"""What a node says of its own health."""

import asyncio
import math
import os
from collections.abc import Sequence

import pytest

from learning.learner import StepAdopted
from node.api import telemetry
from node.api.telemetry import MemoryProbe, MemoryUse, Vitals, memory_of, resident_mb

NOBODY = 2**22 + 1
"""Above the greatest process id that Linux gives."""


def test_a_figure_that_is_no_number_is_left_out() -> None:
    vitals = Vitals(b"a" * 32)
    vitals.remember(StepAdopted(b"s" * 32, 1, -2.0, {"test_accuracy": 0.5, "value": math.nan, "loss": math.inf}, b"d" * 32))
    assert vitals.head is not None
    assert vitals.head.metrics == {"test_accuracy": 0.5}


def test_a_note_is_an_error_for_a_while() -> None:
    vitals = Vitals(b"a" * 32)
    vitals.note("cannot reach anybody", 100.0)
    assert vitals.last_error(130.0, []) == "cannot reach anybody"
    assert vitals.last_error(130.1, []) is None


def test_processes_that_are_gone_take_no_memory() -> None:
    assert memory_of((NOBODY,)) == MemoryUse(0.0, 0.0)
    assert resident_mb((NOBODY,)) == 0.0


def test_one_process_alone_has_all_its_pages_and_a_share_of_those_that_it_shares() -> None:
    own = (os.getpid(),)
    use = memory_of(own)
    assert use.rss_mb == pytest.approx(resident_mb(own), rel=0.1)
    assert 0 < use.pss_mb <= use.rss_mb


def test_maps_are_read_seldom_and_what_has_grown_since_counts_as_private(monkeypatch: pytest.MonkeyPatch) -> None:
    maps: list[Sequence[int]] = []
    resident = iter(range(100, 200))
    seen: list[MemoryUse | None] = []

    def read_maps(pids: Sequence[int]) -> MemoryUse:
        maps.append(pids)
        return MemoryUse(70.0, 60.0)

    async def look(seconds: float) -> None:
        seen.append(probe.latest)
        if len(seen) == 1 + 2 + 4 + 8 + 12 + 12:
            raise asyncio.CancelledError

    monkeypatch.setattr(telemetry, "memory_of", read_maps)
    monkeypatch.setattr(telemetry, "resident_mb", lambda pids: float(next(resident)))
    monkeypatch.setattr(asyncio, "sleep", look)
    probe = MemoryProbe((NOBODY,))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(probe.run())
    assert seen[:5] == [MemoryUse(70.0 + grown, 60.0 + grown) for grown in (1, 1, 2, 1, 2)]
    assert len(maps) == 6


def test_an_address_that_was_reached_after_all_is_no_error_any_more() -> None:
    vitals = Vitals(b"author")
    vitals.note("cannot reach 127.0.0.1:7600: connection refused; next attempt in 1 s", now_s=100.0)
    assert vitals.last_error(101.0, ["127.0.0.1:7601", "127.0.0.1:760"]) == vitals.notes[-1]
    assert vitals.last_error(101.0, ["127.0.0.1:7600"]) is None
