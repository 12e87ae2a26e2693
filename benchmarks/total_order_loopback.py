"""Rounds a second of four members as processes on this machine: empty blocks, a least interval of 1 ms; and where time goes.

One member runs under cProfile, which slows it; so the rate is taken from a run without it, and the split from a second one.

    python benchmarks/total_order_loopback.py [--seconds 20]
"""

import argparse
import json
import pstats
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]

MEMBERS = 4

ROUNDS_PER_SECOND_MIN = 60.0

PARTS = (
    ("signing", re.compile(r"method 'sign'")),
    ("verifying", re.compile(r"method 'verify'|from_public_bytes|ed25519")),
    ("codec", re.compile(r"msgspec|encoding\.py|method 'encode'|method 'decode'")),
    ("socket and seal", re.compile(r"uvloop|aiohttp|asyncio|node/net/|ChaCha20|selectors|socket|encrypt|decrypt")),
    ("store", re.compile(r"sqlite|store\.py|threading|queue|futures|fsync")),
    ("machine", re.compile(r"consensus/|blake2b|hashlib|heapq")),
    ("shell", re.compile(r"node/")),
)
"""Where a profiled function belongs: the first pattern that its file and name match."""


def main() -> int:
    """Print the rate and the split; 1 when the rate is too low."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long is measured")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        rounds, cpu_s = measure(Path(folder) / "plain", seconds, None)
        profile = Path(folder) / "profile"
        profiled_rounds, _ = measure(Path(folder) / "profiled", seconds, profile)
        shares = split(profile)
    rate = rounds / seconds
    print(f"{rate:.0f} rounds a second with {MEMBERS} members; {rate / ROUNDS_PER_SECOND_MIN:.2f} times the goal")
    print(f"{1000 * cpu_s / rounds:.2f} ms of processor time per round and member (event-loop process)")
    total = sum(shares.values())
    for part, spent in shares.most_common():
        print(f"  {spent / total:6.1%}  {part}  ({1000 * spent / max(1, profiled_rounds):.3f} ms a round under the profiler)")
    return 0 if rate >= ROUNDS_PER_SECOND_MIN else 1


def measure(folder: Path, seconds: float, profile: Path | None) -> tuple[int, float]:
    """Rounds within `seconds`, and the processor time of the first member's event-loop process meanwhile."""
    command = [sys.executable, str(ROOT / "run_node.py"), "init", str(folder), "--members", str(MEMBERS)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ports = free_ports(MEMBERS)
    processes = [
        start(folder / f"member-{number}", port, ports[0], profile if number == 0 else None)
        for number, port in enumerate(ports)
    ]
    try:
        wait_for_rounds(folder / "member-0", 50)
        first_round, first_cpu = round_of(folder / "member-0"), cpu_seconds(processes[0].pid)
        time.sleep(seconds)
        return round_of(folder / "member-0") - first_round, cpu_seconds(processes[0].pid) - first_cpu
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(timeout=60)


def start(folder: Path, port: int, first_port: int, profile: Path | None) -> subprocess.Popen[bytes]:
    """One member that has nothing to say, at the least interval."""
    path = folder / "network.toml"
    rules = re.sub(r"(round|idle)_interval_ms = \d+", r"\1_interval_ms = 1", path.read_text())
    path.write_text(rules)
    prefix = [sys.executable] if profile is None else [sys.executable, "-m", "cProfile", "-o", str(profile)]
    command = [*prefix, str(ROOT / "run_node.py"), "start", "--data-dir", str(folder), "--listen", f"127.0.0.1:{port}"]
    command += ["--no-search", "--log-level", "error", "--peer", f"127.0.0.1:{first_port}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def round_of(folder: Path) -> int:
    """The round that the member has reached; 0 while it does not answer."""
    try:
        address = json.loads((folder / "api.json").read_text())
        with urllib.request.urlopen(f"http://{address['host']}:{address['port']}/v1/status", timeout=5) as answer:
            return int(json.load(answer)["order"]["round"])
    except (OSError, ValueError):
        return 0


def wait_for_rounds(folder: Path, rounds: int) -> None:
    """Until everybody has started and rounds go on."""
    deadline = time.monotonic() + 120
    while round_of(folder) < rounds:
        assert time.monotonic() < deadline, "the members make no rounds"
        time.sleep(0.5)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def split(profile: Path) -> Counter[str]:
    """Own time of all profiled functions, by part; waiting for events is left out."""
    shares: Counter[str] = Counter()
    for (file, _, name), figures in pstats.Stats(str(profile)).stats.items():  # type: ignore[attr-defined]
        place = f"{file}:{name}"
        if "run_until_complete" in place or "importlib" in place or "marshal" in place or "acquire" in place:
            continue
        part = next((part for part, pattern in PARTS if pattern.search(place)), "python")
        shares[part] += figures[2]
    return shares


if __name__ == "__main__":
    sys.exit(main())
