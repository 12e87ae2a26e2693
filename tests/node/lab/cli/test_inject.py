"""What a person types becomes one event; every misuse is told in a line, with its fix."""

import asyncio
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from node.cli import main
from node.common.errors import EXIT_CANNOT_NOW, NodeError
from node.lab.scenarios.events import (
    BackUp,
    Crash,
    Event,
    Heal,
    Misbehave,
    Partition,
    Pause,
    Restart,
    RestoreOldDisk,
    Resume,
    Wipe,
)
from node.lab.testnet.control import CONTROL_FILE_NAME, ControlFile, PeerReport, TestnetReport, published
from node.lab.testnet.control_server import ControlServer


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No testnet of this machine is seen."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def peer_report(number: int, state: str = "running", fault: str = "", group: int | None = None) -> PeerReport:
    return PeerReport(number, f"peer-{number}", "ab", state, 1, fault, False, group, 1_420, "cd", 0.912, 3, "/net")


PEERS = (peer_report(0), peer_report(1), peer_report(2, "killed", group=1), peer_report(3, fault="mute"), peer_report(4))


class Ledger:
    """Hands that write down what they are asked to do; to heal they refuse."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def do(self, event: Event) -> str:
        if event == Heal():
            raise NodeError("the testnet is stopping", "wait", EXIT_CANNOT_NOW)
        self.events.append(event)
        return "done"


@contextmanager
def a_testnet_in(folder: Path) -> Iterator[Ledger]:
    """A real control server of a testnet that is none, on a thread."""
    ledger, ready, over = Ledger(), threading.Event(), threading.Event()
    report = TestnetReport(str(folder), os.getpid(), 12.3, "total-order", "evolution", 1_420, PEERS, ())
    folder.mkdir()

    async def serve() -> None:
        async with ControlServer(ledger, lambda: report, lambda: 12.3).serving(folder):
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield ledger
    finally:
        over.set()
        thread.join()


def inject(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["inject", *map(str, arguments)], terminal_width=80)


@pytest.mark.parametrize(
    ("arguments", "event"),
    [
        (["--kill", "2"], Crash((2,))),
        (["--pause", "1,2"], Pause((1, 2))),
        (["--resume", "1, 2"], Resume((1, 2))),
        (["--restart", "2"], Restart((2,))),
        (["--partition", "0,1/2,3"], Partition(((0, 1), (2, 3)))),
        (["--wipe", "0"], Wipe((0,))),
        (["--back-up", "0"], BackUp((0,))),
        (["--restore-old-disk", "0"], RestoreOldDisk((0,))),
        (["--fault", "equivocate", "--peers", "0,3"], Misbehave((0, 3), "equivocate:share=0.5")),
        (["--fault", "mute+worst-candidate", "--nodes", "2"], Misbehave((1, 4), "mute+worst-candidate")),
        (["--fault", "", "--nodes", "1"], Misbehave((3,), "")),
    ],
)
def test_one_option_is_one_event(temporary: Path, arguments: list[str], event: Event) -> None:
    with a_testnet_in(temporary / "net") as ledger:
        result = inject(*arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, f"{temporary / 'net'}: done\n", "")
        as_json = inject(*arguments, "--data-dir", temporary / "net", "--json")
        assert msgspec.json.decode(as_json.stdout) == {"seconds": 12.3, "said": "done"}
    assert ledger.events == [event, event]


def test_without_a_event_the_peers_are_shown(temporary: Path) -> None:
    with a_testnet_in(temporary / "net"):
        lines = [line.rstrip() for line in inject().stdout.splitlines()]
        document = msgspec.json.decode(inject("--json").stdout, type=TestnetReport)
    assert lines[-6:] == [
        "peer  height    test  links  state",
        "   0   1,420  91.2 %      3  running",
        "   1   1,420  91.2 %      3  running",
        "   2   1,420  91.2 %      3  killed, in group 1",
        "   3   1,420  91.2 %      3  running, faulty: mute",
        "   4   1,420  91.2 %      3  running",
    ]
    assert document.peers == PEERS


def test_what_the_testnet_refuses_is_told_as_it_says(temporary: Path) -> None:
    with a_testnet_in(temporary / "net"):
        result = inject("--heal")
        assert (result.exit_code, result.stderr) == (1, "error: the testnet is stopping\nfix: wait\n")
        result = inject("--fault", "mute", "--nodes", "4")
        assert (result.exit_code, result.stderr) == (
            1,
            "error: --nodes is 4, but of the peers that run only 3 are honest\nfix: ask for fewer, or name them with --peers\n",
        )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--kill", "two"], "'--kill': 'two' is not a list of peer numbers like 2 or 2,3."),
        (["--kill", "-1"], "'--kill': '-1' is not a list of peer numbers"),
        (["--kill", "1,"], "'--kill': '1,' is not a list of peer numbers"),
        (["--kill", "99999"], "'--kill': '99999' is not a list of peer numbers"),
        (["--partition", "0,1//3"], "'--partition': '0,1//3' has an empty group; write groups like 0,1/2,3."),
        (["--partition", "0,a/3"], "'--partition': '0,a' is not a list of peer numbers"),
        (["--kill", "1", "--heal"], "error: more than one thing to do is given\nfix: do one after the other"),
        (["--fault", "equivocat", "--peers", "1"], "did you mean 'equivocate'?"),
        (["--fault", "mute"], "error: --fault needs to know who misbehaves\nfix: give either --nodes K or --peers 0,3"),
        (["--fault", "mute", "--nodes", "1", "--peers", "1"], "error: --fault needs to know who misbehaves"),
        (["--nodes", "1"], "error: --nodes and --peers belong to --fault"),
        (["--fault", "mute", "--nodes", "0"], "'--nodes': 0 is not in the range x>=1."),
    ],
)
def test_a_wrong_argument_is_told_before_any_testnet_is_looked_for(arguments: list[str], told: str) -> None:
    result = inject(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_no_testnet_a_killed_one_and_several_are_told(temporary: Path) -> None:
    start = "fix: start one: .venv/bin/python run_node.py testnet --until-interrupted\n"
    none = inject("--kill", "1")
    assert (none.exit_code, none.stderr) == (1, f"error: no testnet of yours runs on this machine\n{start}")
    nowhere = inject("--data-dir", temporary / "nowhere")
    assert (nowhere.exit_code, nowhere.stderr) == (1, f"error: no testnet runs in {temporary / 'nowhere'}\n{start}")
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = temporary / "dead"
    dead.mkdir()
    with published(dead, ControlFile("127.0.0.1", 1, ended.pid, "token")):
        assert inject("--kill", "1").stderr == none.stderr
        killed = inject("--kill", "1", "--data-dir", dead)
        assert (killed.exit_code, killed.stderr) == (1, f"error: the testnet in {dead} (pid {ended.pid}) was killed\n{start}")
    with a_testnet_in(temporary / "a"):
        (temporary / f"kubrat-{os.getuid()}" / "1").write_bytes(os.fsencode(temporary / "b"))
        (temporary / "b").mkdir()
        content = (temporary / "a" / CONTROL_FILE_NAME).read_bytes()
        (temporary / "b" / CONTROL_FILE_NAME).write_bytes(content)
        several = inject("--kill", "1")
    assert several.exit_code == 2
    assert several.stderr.startswith("error: 2 testnets run: ")
    assert several.stderr.endswith("fix: name one: --data-dir DIR\n")


def test_who_has_the_port_of_a_killed_testnet_is_not_it(temporary: Path) -> None:
    with a_testnet_in(temporary / "net") as ledger:
        right = msgspec.json.decode((temporary / "net" / CONTROL_FILE_NAME).read_bytes(), type=ControlFile)
        dead = temporary / "dead"
        dead.mkdir()
        wrong = msgspec.structs.replace(right, token="of another")
        (dead / CONTROL_FILE_NAME).write_bytes(msgspec.json.encode(wrong))
        result = inject("--kill", "1", "--data-dir", dead)
    assert (result.exit_code, ledger.events) == (1, [])
    assert f"is not the testnet that pid {right.pid} was: 401" in result.stderr
