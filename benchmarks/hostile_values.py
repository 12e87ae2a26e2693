"""The rows of hostile.py that are a value, not a ratio of two stretches: each calls the stage of the test that holds it.

    python benchmarks/hostile_values.py NAME     (with PYTHONPATH set to the root of the repository)

It prints one JSON object: the value, in the unit of its row, and what was seen besides; a value of null where this machine
cannot measure it.
"""

import asyncio
import gc
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from consensus.protocol import PeerJoined, TimerFired
from consensus.total_order.linearizer import REFERENCES_MAX
from consensus.types import Instant
from tests.consensus.proof_of_work.test_unproven import sync_ms, worked_ms_beside_bodiless_headers
from tests.consensus.total_order.test_joining import MODES, SYNC_MS, Joiner, begun, invented, requests
from tests.node.test_machines_as_processes import WHY_NOT, reconnect_among_outsiders

Reading = tuple[float | None, str]
"""The value, and what was seen besides."""

LIARS = ((60, True), (300, False), (320, True), (1_024, True))
"""Headers of the liar's chain, and whether it is met before all honest peers."""

MADE_UP_ANSWERS = 24
"""Of 650 kB each: as many as one source could give before."""

PAUSE_TICKS_MAX = 100
"""Looks at the clock until another source is asked."""

RECONNECT_SECONDS_MAX = 120.0
"""Nobody waits longer for what should take 15 s."""


def newcomer() -> Reading:
    """How many times as long a sync of 2,500 blocks takes with one liar among eight peers: the worst of four liars."""
    control = sync_ms(0, is_first=True)
    taken = {liar: sync_ms(liar[0], is_first=liar[1]) / control for liar in LIARS}
    told = ", ".join(f"{headers} headers {ratio:.2f}" for (headers, _), ratio in taken.items())
    return max(taken.values()), f"alone {control / 1000:.1f} s of its own time; {told}"


def bodiless_lead() -> Reading:
    """Seconds of two minutes in which a peer does not work on a puzzle, after nine headers whose bodies nobody gives."""
    return 120 - worked_ms_beside_bodiless_headers() / 1000, "in the first two minutes"


def crowded_members() -> Reading:
    """Seconds until four members are connected again, two of which were away while outsiders took all places."""
    if WHY_NOT is not None:
        return None, f"no network namespaces here: {WHY_NOT}"
    with tempfile.TemporaryDirectory() as folder:
        took = asyncio.run(reconnect_among_outsiders(Path(folder) / "net", RECONNECT_SECONDS_MAX))
    return took, "since both that were away answer again; five machines, 80 outsiders at each member"


def made_up_commits_memory() -> Reading:
    """MB that are left behind by made-up commits of 16,384 references, in the worse of both ways to catch up."""
    grown = {}
    for mode in MODES:
        tracemalloc.start()
        *_, joiner = _answered(mode)
        gc.collect()
        grown[mode], _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert joiner.machine.status.missing == 0
    told = ", ".join(f"{mode} {size / 1e6:.2f} MB" for mode, size in grown.items())
    return max(grown.values()) / 1e6, f"of {MADE_UP_ANSWERS} answers of 650 kB; {told}"


def made_up_commits_timers() -> Reading:
    """Milliseconds of processor time that the longest look at the clock takes meanwhile."""
    longest: dict[str, float] = {}
    for mode in MODES:
        for joiner in _answered(mode):
            begun_at = time.thread_time()
            joiner.now += SYNC_MS
            joiner.machine.handle(TimerFired("sync"), Instant(joiner.now))
            longest[mode] = max(longest.get(mode, 0.0), 1000 * (time.thread_time() - begun_at))
    return max(longest.values()), ", ".join(f"{mode} {ms:.2f} ms" for mode, ms in longest.items())


def _answered(mode: str) -> Iterator[Joiner]:
    """A newcomer, after each of so many made-up answers."""
    joiner, asked = begun(mode)
    for salt in range(MADE_UP_ANSWERS):
        record = invented(asked.first, bytes(32), REFERENCES_MAX, salt)
        effects = joiner.answer(asked, [record])
        joiner.do(joiner.machine.handle(PeerJoined(asked.peer), Instant(joiner.now)))
        yield joiner
        for _ in range(PAUSE_TICKS_MAX):
            if requests(effects):
                break
            effects = joiner.ticks()
        (asked,) = requests(effects)


VALUES: dict[str, Callable[[], Reading]] = {
    "newcomer-in-memory": newcomer,
    "bodiless-lead-in-memory": bodiless_lead,
    "crowded-members": crowded_members,
    "commits-memory": made_up_commits_memory,
    "commits-timers": made_up_commits_timers,
}
"""By the name of the row."""


def main() -> int:
    """Measure one."""
    value, detail = VALUES[sys.argv[1]]()
    print(json.dumps({"value": value, "detail": detail}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
