"""What a node says of its own health."""

import math

from learning.learner import StepAdopted
from node.api.telemetry import MemoryUse, Vitals, memory_of

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


def test_an_address_that_was_reached_after_all_is_no_error_any_more() -> None:
    vitals = Vitals(b"author")
    vitals.note("cannot reach 127.0.0.1:7600: connection refused; next attempt in 1 s", now_s=100.0)
    assert vitals.last_error(101.0, ["127.0.0.1:7601", "127.0.0.1:760"]) == vitals.notes[-1]
    assert vitals.last_error(101.0, ["127.0.0.1:7600"]) is None
