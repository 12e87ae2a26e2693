"""What attackers cost honest peers: one table of ratios and of values, each beside its goal.

A ratio compares honest progress (blocks or rounds per second, as the victims' own status says) under an attack with
progress under a control: as many outsiders that only shake hands; each pair is measured in turn in one run, on real processes.
Attackers run as processes of their own under a processor quota, so that what is measured is the victims' work and not the lack
of a processor. A value is measured by the stage of the test that holds it (hostile_values.py), on real processes too where its
name does not say otherwise.

    python benchmarks/hostile.py [--seconds 30] [--pairs 2] [--only NAME ...] [--json]
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

RATIO_MIN = 0.8
"""Of the honest progress that must be left under attack."""

LOG_BYTES_MAX = 4_096
"""So much more than beside idle outsiders may be logged where that is the goal: a line now and then, whoever comes."""

START_SECONDS_MAX = 180.0

HEIGHT_SETTLED = {"proof-of-work": 120, "total-order": 10}
"""Before it the puzzles of a new network are too easy for its work: blocks come faster than they will."""

SETTLE_SECONDS = 5.0
"""After attackers come or go, before anything is counted."""

Commands = list[list[str]]


@dataclass(frozen=True, slots=True)
class Row:
    """One attack. `rate`: what each outsider does a second; `targets`: how many of the victims are attacked (0: all)."""

    name: str
    kind: str
    consensus: str
    peers: int
    rate: float
    what: str
    targets: int = 0
    holds_log: bool = False
    """Whether the goal is a log that does not grow, too."""

    def has_met(self, result: "Result") -> bool:
        """Whether enough progress is left, and the log as short as it should be."""
        is_short = not self.holds_log or float(result["log_growth"]) <= LOG_BYTES_MAX
        return float(result["ratio"]) >= RATIO_MIN and is_short


@dataclass(frozen=True, slots=True)
class Value:
    """One attack whose goal is a value, `most` in its unit."""

    name: str
    most: float
    unit: str
    what: str

    def has_met(self, result: "Result") -> bool:
        """What this machine cannot measure misses nothing."""
        return result["value"] is None or float(result["value"]) <= self.most


Result = dict[str, float | str | None]

VALUES = (
    Value("newcomer-in-memory", 1.5, "times", "a sync of 2,500 blocks with one liar among eight peers, to one without"),
    Value("bodiless-lead-in-memory", 30.0, "s", "without leading, after nine headers whose bodies nobody gives"),
    Value("crowded-members", 15.0, "s", "until members are connected again while outsiders take every place"),
    Value("commits-memory", 16.0, "MB", "that made-up commits leave behind in one who is behind, in memory"),
    Value("commits-timers", 50.0, "ms", "of the longest timer meanwhile, in memory"),
)

ROWS = (
    Row("workless", "workless", "proof-of-work", 3, 1.0, "chains of 9 signed blocks without work, each by a new key"),
    Row("throw-away", "contributions", "proof-of-work", 3, 200.0, "false contributions by authors of one message"),
    Row("parts-work", "parts", "proof-of-work", 3, 100.0, "requests for parts of what nobody has, 800 a second and peer"),
    Row("parts-order", "parts", "total-order", 4, 100.0, "the same at the members of a total order"),
    Row(
        "requests",
        "requests",
        "total-order",
        4,
        40.0,
        "requests for blocks and commits, 320 a second, at one member",
        targets=1,
    ),
    Row("log", "malformed-requests", "total-order", 4, 20.0, "requests that are none, 640 a second in all", holds_log=True),
)


@dataclass(frozen=True, slots=True)
class Victims:
    """Honest peers that run."""

    row: Row
    folders: tuple[Path, ...]
    ports: tuple[int, ...]

    def progress(self) -> float:
        """Blocks of the head's chain, or rounds of the member that is attacked."""
        document = status_of(self.folders[0])
        return float(document["order"]["round"] if self.row.consensus == "total-order" else document["height"])

    def log_bytes(self) -> int:
        """Of all victims' logs."""
        return sum((folder.parent / f"{folder.name}.log").stat().st_size for folder in self.folders)


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of time: progress a second, the worst loop lag told, bytes of log, and what the attackers said."""

    rate: float
    lag_ms: float
    log_bytes: int
    attackers: str


def main() -> int:
    """Print the table; 1 when an attack leaves less than it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each stretch")
    parser.add_argument("--pairs", type=int, default=2, help="control and attack, in turn")
    names = [row.name for row in (*ROWS, *VALUES)]
    parser.add_argument("--only", nargs="*", default=names, choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--quota", type=float, default=0.25, help="of one processor, for all attackers of a row")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    results: list[tuple[Row | Value, Result]] = []
    for row in (*ROWS, *VALUES):
        if row.name in given.only:
            is_ratio = isinstance(row, Row)
            result = measure(row, given.seconds, given.pairs, given.quota) if is_ratio else measure_value(row)
            results.append((row, result))
            for line in lines_of(row, result):
                print(line, flush=True)
    if given.json:
        print(json.dumps([result for _, result in results]))
    return int(not all(row.has_met(result) for row, result in results))


def lines_of(row: Row | Value, result: Result) -> tuple[str, str]:
    """One line of the table, and one of what was seen besides."""
    mark = "ok " if row.has_met(result) else "LOW" if isinstance(row, Row) else "BAD"
    if isinstance(row, Value):
        if result["value"] is None:
            return f"--  {row.name:24} not measured; {row.what}", f"    {result['detail']}"
        told = f"{result['value']:.2f} {row.unit} (at most {row.most:g})"
        return f"{mark} {row.name:24} {told}; {row.what}", f"    {result['detail']}"
    log = f"{result['log_growth']:+d} bytes" + (f" (at most {LOG_BYTES_MAX})" if row.holds_log else "")
    told = f"{result['control']:.2f} -> {result['attacked']:.2f} a second, ratio {result['ratio']:.2f} (at least {RATIO_MIN})"
    lag = f"loop lag p99 {result['lag_ms']:.0f} ms"
    return f"{mark} {row.name:24} {told}; {lag}; log {log}; {row.what}", f"    attackers: {result['attackers']}"


def measure_value(row: Value) -> Result:
    """In a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "hostile_values.py"), row.name]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True, check=True)
    return {"name": row.name, **json.loads(done.stdout.splitlines()[-1])}


def measure(row: Row, seconds: float, pairs: int, quota: float) -> Result:
    """The ratio of the medians, from `pairs` stretches of each kind in turn."""
    with tempfile.TemporaryDirectory() as folder, running(row, Path(folder)) as victims:
        controls, attacks = [], []
        for _ in range(pairs):
            controls.append(stretch(victims, "idle", 1.0, seconds, quota))
            attacks.append(stretch(victims, row.kind, row.rate, seconds, quota))
    control = statistics.median(span.rate for span in controls)
    attacked = statistics.median(span.rate for span in attacks)
    return {
        "name": row.name,
        "control": control,
        "attacked": attacked,
        "ratio": attacked / control if control else 0.0,
        "lag_ms": max(span.lag_ms for span in attacks),
        "log_growth": sum(span.log_bytes for span in attacks) - sum(span.log_bytes for span in controls),
        "attackers": "; ".join(span.attackers for span in attacks),
    }


def stretch(victims: Victims, kind: str, rate: float, seconds: float, quota: float) -> Span:
    """Progress while these attackers are at the doors."""
    count = victims.row.targets or len(victims.ports)
    targets = [f"127.0.0.1:{port}" for port in victims.ports[:count]]
    network_file = str(victims.folders[0] / "network.toml")
    command = [sys.executable, str(ROOT / "benchmarks" / "hostile_attacker.py"), kind, network_file, *targets]
    command += ["--quota", str(quota), "--per-second", str(rate)]
    attacker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        time.sleep(SETTLE_SECONDS)
        first, log_bytes, begun = victims.progress(), victims.log_bytes(), time.monotonic()
        time.sleep(seconds)
        last, took = victims.progress(), time.monotonic() - begun
        lag_ms = status_of(victims.folders[0])["loop_lag_p99_ms"] or 0.0
        return Span((last - first) / took, lag_ms, victims.log_bytes() - log_bytes, ended(attacker))
    finally:
        attacker.kill()
        attacker.wait()
        time.sleep(SETTLE_SECONDS)


def ended(attacker: "subprocess.Popen[str]") -> str:
    """What it says when it is told to stop."""
    assert attacker.poll() is None, "the attacker has ended by itself"
    attacker.send_signal(signal.SIGTERM)
    said, _ = attacker.communicate(timeout=60)
    return said.strip()


@contextmanager
def running(row: Row, root: Path) -> Iterator[Victims]:
    """Start the victims, wait until they go on, and stop them."""
    folders = make_folders(row, root)
    ports = free_ports(row.peers)
    processes = []
    try:
        for number, (folder, port) in enumerate(zip(folders, ports, strict=True)):
            processes.append(start(folder, port, ports[:number] or ports[1:2]))
        victims = Victims(row, folders, ports)
        wait_for_progress(victims)
        yield victims
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(timeout=60)


def make_folders(row: Row, root: Path) -> tuple[Path, ...]:
    """Of peers of one network."""
    init = [sys.executable, str(ROOT / "run_node.py"), "init", "--strategy", "plus"]  # of which the attacker knows the payloads
    if row.consensus == "total-order":
        subprocess.run([*init, str(root), "--members", str(row.peers)], check=True, stdout=subprocess.DEVNULL)
        return tuple(root / f"member-{number}" for number in range(row.peers))
    first = root / "peer-0"
    subprocess.run([*init, str(first)], check=True, stdout=subprocess.DEVNULL)
    others = tuple(root / f"peer-{number}" for number in range(1, row.peers))
    for folder in others:
        subprocess.run(
            [*init[:3], str(folder), "--network", str(first / "network.toml")], check=True, stdout=subprocess.DEVNULL
        )
    return (first, *others)


def start(folder: Path, port: int, others: list[int] | tuple[int, ...]) -> "subprocess.Popen[bytes]":
    """One peer at a fifth of a core of puzzle work, so that two cores hold all."""
    command = [sys.executable, str(ROOT / "run_node.py"), "start", "--data-dir", str(folder), "--listen", f"127.0.0.1:{port}"]
    command += ["--puzzle-share", "0.2"]
    for other in others:
        command += ["--peer", f"127.0.0.1:{other}"]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = tuple(held.getsockname()[1] for held in sockets)
    for held in sockets:
        held.close()
    return ports


def status_of(folder: Path) -> dict:  # type: ignore[type-arg]
    """What the peer tells of itself. Raises OSError while it does not answer for 30 s."""
    deadline = time.monotonic() + 30
    while True:
        try:
            address = json.loads((folder / "api.json").read_text())
            with urllib.request.urlopen(f"http://{address['host']}:{address['port']}/v1/status", timeout=30) as answer:
                document: dict = json.load(answer)  # type: ignore[type-arg]
                return document
        except (OSError, ValueError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def wait_for_progress(victims: Victims) -> None:
    """Until everybody has started, and the network goes on."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        heights = [status_of_starting(folder) for folder in victims.folders]
        if all(height is not None and height >= HEIGHT_SETTLED[victims.row.consensus] for height in heights):
            return
        assert time.monotonic() < deadline, f"the victims make no progress: {heights}"
        time.sleep(0.5)


def status_of_starting(folder: Path) -> int | None:
    """Its height, or None while it does not answer."""
    log = (folder.parent / f"{folder.name}.log").read_text(errors="replace")
    assert not re.search(r"Traceback", log), log
    if not (folder / "api.json").exists():
        return None
    try:
        height: int | None = status_of(folder)["height"]
    except OSError:
        return None
    return height


if __name__ == "__main__":
    sys.exit(main())
