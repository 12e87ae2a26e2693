"""Real peers in real processes, for tests: start, ask, kill, stop."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from node.common.errors import NotRunningError
from node.storage.api_address import read_api_file

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, cwd: Path = ROOT, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    command = [sys.executable, str(ROOT / "run_node.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, cwd=cwd)


@contextlib.contextmanager
def hearing_interrupts() -> Iterator[None]:
    """Processes that are started within hear SIGINT, though we be a script's background job, which ignores it (POSIX).

    What is ignored stays ignored across `exec`; what is handled starts anew.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Watched:
    """A peer that somebody else has started in this folder."""

    folder: Path

    def status(self) -> dict | None:
        """The status document, or None while the peer does not answer."""
        try:
            found = read_api_file(self.folder)
            with urllib.request.urlopen(f"http://{found.address}/v1/status", timeout=2) as answer:
                document = json.load(answer)
        except (NotRunningError, OSError):
            return None
        return document if document["peer_id"] == found.peer_id else None

    def fault(self) -> str | None:
        """Why there is no use in waiting."""
        return None

    def wait_until(self, holds: Callable[[dict], bool], seconds: float = 90) -> dict:
        """The first status for which `holds` is true."""
        deadline = time.monotonic() + seconds
        last = None
        while time.monotonic() < deadline:
            assert self.fault() is None, self.fault()
            last = self.status()
            if last is not None and last["height"] is not None and holds(last):
                return last
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s; last status {last}")


@dataclass
class RunningPeer(Watched):
    """A peer started by `run_node.py start`, in a session of its own."""

    port: int
    process: subprocess.Popen[str]

    @classmethod
    def start(
        cls, folder: Path, *arguments: str, port: int | None = None, environment: Mapping[str, str] | None = None
    ) -> "RunningPeer":
        port = free_port() if port is None else port
        command = [sys.executable, str(ROOT / "run_node.py"), "start", "--data-dir", str(folder)]
        command += ["--listen", f"127.0.0.1:{port}", *arguments]
        log = (folder.parent / f"{folder.name}.log").open("a")
        variables = {**os.environ, **(environment or {})}
        with hearing_interrupts():
            process = subprocess.Popen(command, stdout=log, stderr=log, text=True, start_new_session=True, env=variables)
        log.close()
        return cls(folder, port, process)

    @property
    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()

    def fault(self) -> str | None:
        code = self.process.poll()
        return None if code is None else f"the peer ended with {code}:\n{self.log}"

    def kill(self) -> None:
        """kill -9, as a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


def processes_of_session(session: int) -> list[int]:
    """Living processes (no zombies) of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


__all__ = ["ROOT", "RunningPeer", "free_port", "hearing_interrupts", "processes_of_session", "run"]
