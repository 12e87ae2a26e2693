"""The log is bounded, whatever peers make the node say."""

import logging
import subprocess
import sys

from node.runtime.logs import LINE_CHARACTERS_MAX, LINES_BURST, LineBudget


def record(message: str, line: int = 1, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("node", logging.WARNING, "place.py", line, message, arguments, None)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_place_says_its_burst_and_then_a_line_in_ten_seconds_that_counts_what_was_left_out() -> None:
    clock = Clock()
    budget = LineBudget(clock)
    passed = [budget.filter(record("peer %s lies", 1, number)) for number in range(LINES_BURST + 500)]
    assert passed == [True] * LINES_BURST + [False] * 500
    clock.seconds = 10.0
    line = record("peer %s lies", 1, "x")
    assert budget.filter(line)
    assert line.getMessage() == "peer x lies (500 lines like this one were left out before it)"
    assert not budget.filter(record("peer y lies"))


def test_one_place_leaves_others_their_lines() -> None:
    budget = LineBudget(Clock())
    assert [budget.filter(record("flood", 1)) for _ in range(LINES_BURST + 1)][-1] is False
    assert budget.filter(record("another place", 2))


def test_a_line_is_cut_where_it_is_longer_than_anything_of_ours() -> None:
    line = record("x" * (LINE_CHARACTERS_MAX + 1))
    assert LineBudget(Clock()).filter(line)
    assert len(line.getMessage()) < LINE_CHARACTERS_MAX + 50


def test_debug_lines_are_what_a_person_has_asked_for() -> None:
    budget = LineBudget(Clock())
    lines = [logging.LogRecord("node", logging.DEBUG, "place.py", 1, "detail", (), None) for _ in range(LINES_BURST + 1)]
    assert all(budget.filter(line) for line in lines)


def test_a_configured_process_writes_no_more_than_its_budget() -> None:
    program = (
        "import logging; from node.runtime.logs import configure_logging; configure_logging('info')\n"
        "for number in range(10_000): logging.getLogger('node.runtime.driver').warning('peer %d lies', number)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert len(ended.stderr.splitlines()) == LINES_BURST
