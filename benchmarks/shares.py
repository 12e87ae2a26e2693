"""What agreeing costs: processor time of four members of a total order by part, for each generation and each round.

    python benchmarks/shares.py [--seconds 30] [--delay-ms 100] [options of `run_node.py testnet`]

`--delay-ms`: each call of the task's `scores` takes so much processor time more, as an evaluation of a larger model would.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import msgspec
import psutil

from node.api.status import NodeStatus
from node.storage.api_address import API_FILE_NAME, ApiFile

ROOT = Path(__file__).resolve().parents[1]

MEMBERS = 4
START_SECONDS_MAX = 180.0
GENERATIONS_FIRST = 2
"""Before it is measured: learners have loaded, and all go on."""

SHARE_MAX, SLOW_SHARE_MAX = 0.30, 0.05
"""The ordering's share of a peer's processor time: on digits, and where an evaluation takes 100 ms."""

DELAY_VARIABLE = "KUBRAT_BENCHMARK_DELAY_MS"


def main() -> int:
    """Print the table; 1 when the ordering takes more than its share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long is measured")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="processor time of each evaluation beyond digits'")
    known, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        before, after, tasks_s = measure(Path(folder) / "net", known.seconds, known.delay_ms, others)
    limit = SLOW_SHARE_MAX if known.delay_ms else SHARE_MAX
    parts = mean_parts(before, after)
    if known.delay_ms:
        parts["the task"] = tasks_s / MEMBERS
    generations = (heights(after) - heights(before)) / MEMBERS
    rounds = (own_rounds(after) - own_rounds(before)) / MEMBERS
    total = sum(parts.values())
    print(f"{generations:.0f} generations in {known.seconds:g} s, {rounds / generations:.1f} rounds each")
    for part, seconds in parts.items():
        print(f"{1000 * seconds / generations:10.1f} ms a generation, {seconds / total:6.1%}  {part}")
    ordering = parts["event loop"] + parts["store"]
    print(f"{1000 * ordering / rounds:10.2f} ms a round for ordering and store")
    print(f"{ordering / total:10.1%} of a peer's processor time; {ordering / total / limit:.2f} of the limit {limit:.0%}")
    return 0 if ordering / total <= limit else 1


Measured = tuple[list[NodeStatus], list[NodeStatus], float]


def measure(folder: Path, seconds: float, delay_ms: float, others: list[str]) -> Measured:
    """Every member's status at the beginning and at the end of the time, and what a task's own processes took of it."""
    command = [sys.executable, str(ROOT / "run_node.py"), "testnet", "--nodes", str(MEMBERS), "--consensus", "total-order"]
    command += ["--until-interrupted", "--keep", "--data-dir", str(folder), *others]
    environment = dict(os.environ)
    if delay_ms:
        command += ["--task", "benchmarks.slow_task:task"]
        environment[DELAY_VARIABLE] = str(delay_ms)
    testnet = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while min((status.height or 0 for status in statuses(folder)), default=0) < GENERATIONS_FIRST:
            assert time.monotonic() < deadline, "the members learn nothing"
            time.sleep(0.2)
        before, tasks_s = statuses(folder), task_seconds(testnet.pid)
        time.sleep(seconds)
        return before, statuses(folder), task_seconds(testnet.pid) - tasks_s
    finally:
        testnet.send_signal(signal.SIGINT)
        testnet.wait(timeout=60)


def task_seconds(testnet: int) -> float:
    """Processor time of the processes that learners have forked, all together: no status counts them.

    A tree: the testnet, the server that forks, its peers and learners, and a child of each learner.
    """
    servers = psutil.Process(testnet).children()
    tasks = [task for server in servers for worker in server.children() for task in worker.children()]
    return sum(times.user + times.system for times in (task.cpu_times() for task in tasks))


def statuses(folder: Path) -> list[NodeStatus]:
    """Of all members, in the order of their numbers; none while one does not answer."""
    try:
        return [status(folder / f"peer-{number}") for number in range(MEMBERS)]
    except (OSError, ValueError):
        return []


def status(folder: Path) -> NodeStatus:
    """What a member says of itself."""
    found = msgspec.json.decode((folder / API_FILE_NAME).read_bytes(), type=ApiFile)
    with urllib.request.urlopen(f"http://{found.address}/v1/status", timeout=5) as answer:
        return msgspec.json.decode(answer.read(), type=NodeStatus)


def own_rounds(statuses: list[NodeStatus]) -> int:
    """All members' together."""
    return sum(status.order.own_round for status in statuses if status.order is not None)


def heights(statuses: list[NodeStatus]) -> int:
    """All members' together."""
    return sum(status.height or 0 for status in statuses)


def mean_parts(before: list[NodeStatus], after: list[NodeStatus]) -> dict[str, float]:
    """Seconds of processor time by part. A learner's are divided as its time is that it did not wait."""
    parts = dict.fromkeys(("event loop", "store", "ranking", "scoring", "following steps"), 0.0)
    for first, last in zip(before, after, strict=True):
        assert first.processor is not None
        assert last.processor is not None
        assert last.learner_time is not None
        store = last.processor.store_s - first.processor.store_s
        workers = last.processor.workers_s - first.processor.workers_s
        ranking, scoring = (part / last.learner_time.busy for part in (last.learner_time.ranking, last.learner_time.scoring))
        parts["event loop"] += last.processor.ordering_s - first.processor.ordering_s - store
        parts["store"] += store
        parts["ranking"] += workers * ranking
        parts["scoring"] += workers * scoring
        parts["following steps"] += workers * (1 - ranking - scoring)
    return {part: seconds / MEMBERS for part, seconds in parts.items()}


if __name__ == "__main__":
    sys.exit(main())
