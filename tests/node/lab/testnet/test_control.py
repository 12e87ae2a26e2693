"""A running testnet is found by its folder, or by the pointer that it leaves for its user; whoever has no token is refused."""

import asyncio
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import aiohttp
import msgspec
import pytest

from node.common.errors import EXIT_CANNOT_NOW, NodeError
from node.lab.scenarios.events import Crash, Event
from node.lab.testnet.control import (
    CONTROL_FILE_NAME,
    ControlFile,
    NoTestnetError,
    TestnetReport,
    control_of,
    published,
    running_folders,
)
from node.lab.testnet.control_server import EVENT_BYTES_MAX, ControlServer


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No testnet of this machine is seen."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def control_file(pid: int) -> ControlFile:
    return ControlFile("127.0.0.1", 4_711, pid, "token")


def ended_pid() -> int:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def test_it_is_found_while_it_is_published_and_by_its_user_alone(temporary: Path) -> None:
    root = temporary / "net"
    root.mkdir()
    control = control_file(os.getpid())
    with published(root, control):
        assert running_folders() == (root,)
        assert control_of(root) == control
        assert stat.S_IMODE((root / CONTROL_FILE_NAME).stat().st_mode) == 0o600
        assert stat.S_IMODE((temporary / f"kubrat-{os.getuid()}").stat().st_mode) == 0o700
    assert running_folders() == ()
    with pytest.raises(NoTestnetError, match="no testnet runs in"):
        control_of(root)


def test_what_a_killed_testnet_left_behind_is_no_testnet(temporary: Path) -> None:
    root, pid = temporary / "net", ended_pid()
    root.mkdir()
    with published(root, control_file(pid)):
        assert running_folders() == ()
        with pytest.raises(NoTestnetError) as raised:
            control_of(root)
    assert (raised.value.message, raised.value.exit_code) == (f"the testnet in {root} (pid {pid}) was killed", EXIT_CANNOT_NOW)


def test_a_damaged_control_file_is_told(temporary: Path) -> None:
    (temporary / CONTROL_FILE_NAME).write_text("{}")
    with pytest.raises(NodeError, match=r"control.json is damaged: "):
        control_of(temporary)


def test_a_folder_where_others_could_write_is_not_trusted(temporary: Path) -> None:
    (temporary / f"kubrat-{os.getuid()}").mkdir()
    (temporary / f"kubrat-{os.getuid()}").chmod(0o777)
    with pytest.raises(NodeError, match="is not a folder of yours alone"):
        running_folders()


def test_a_testnet_that_ends_while_it_is_looked_for_is_not_found(temporary: Path) -> None:
    root = temporary / "net"
    root.mkdir()
    with published(root, control_file(os.getpid())):
        pointer = temporary / f"kubrat-{os.getuid()}" / str(os.getpid())
        pointer.unlink()
        pointer.symlink_to(temporary / "gone")  # it is listed, and there is nothing to read
        assert running_folders() == ()


class Ledger:
    """Hands that write down what they are asked to do."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def do(self, event: Event) -> str:
        self.events.append(event)
        return "done"


@pytest.mark.parametrize(
    ("token", "body", "status", "told"),
    [
        (lambda token: token, b'{"kind":"crash","peers":[1]}', 200, '{"seconds":1.5,"said":"done"}'),
        (lambda token: "", b'{"kind":"crash","peers":[1]}', 401, "the token of control.json is missing or wrong"),
        (lambda token: token[:-1], b'{"kind":"crash","peers":[1]}', 401, "the token of control.json is missing or wrong"),
        (lambda token: token, b'{"kind":"kiss","peers":[1]}', 400, "this is no event: Invalid value 'kiss'"),
        (lambda token: token, b'{"kind":"crash","peers":[1],"hard":1}', 400, "this is no event: Object contains unknown field"),
        (lambda token: token, b"x" * (EVENT_BYTES_MAX + 1), 413, "Maximum request body size"),
    ],
)
def test_only_a_whole_event_with_the_token_is_done(
    temporary: Path, token: Callable[[str], str], body: bytes, status: int, told: str
) -> None:
    ledger = Ledger()
    report = TestnetReport(str(temporary), os.getpid(), 1.5, "total-order", "evolution", None, (), ())
    server = ControlServer(ledger, lambda: report, lambda: 1.5)

    async def ask() -> tuple[int, str]:
        async with server.serving(temporary), aiohttp.ClientSession() as session:
            control = control_of(temporary)
            headers = {"Authorization": f"Bearer {token(control.token)}"}
            async with session.post(f"http://{control.address}/v1/events", data=body, headers=headers) as answer:
                return answer.status, await answer.text()

    found, text = asyncio.run(ask())
    assert found == status
    assert told in text
    assert ledger.events == ([Crash((1,))] if status == 200 else [])


def test_the_report_is_what_the_supervisor_tells(temporary: Path) -> None:
    report = TestnetReport(str(temporary), os.getpid(), 1.5, "total-order", "evolution", 7, (), ())
    server = ControlServer(Ledger(), lambda: report, lambda: 1.5)

    async def ask() -> bytes:
        async with server.serving(temporary), aiohttp.ClientSession() as session:
            control = control_of(temporary)
            headers = {"Authorization": f"Bearer {control.token}"}
            async with session.get(f"http://{control.address}/v1/peers", headers=headers) as answer:
                return await answer.read()

    assert msgspec.json.decode(asyncio.run(ask()), type=TestnetReport) == report
