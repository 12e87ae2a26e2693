"""Finds a running testnet of this user, and asks its supervisor over HTTP, with the standard library alone."""

import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.common.errors import NodeError
from node.lab.scenarios.events import Event
from node.lab.testnet.control import (
    EVENTS_PATH,
    PEERS_PATH,
    CommandReport,
    ControlFile,
    NoTestnetError,
    Refusal,
    TestnetReport,
    control_of,
    running_folders,
)

ANSWER_SECONDS_MAX = 120.0
"""An event waits for those before it; a peer that does not stop is killed after 15 s, and the first start imports torch."""

ANSWER_BYTES_MAX = 1_000_000
"""64 peers and what was done a thousand times are a tenth of it."""


@dataclass(frozen=True, slots=True)
class RunningTestnet:
    """A testnet that answers."""

    control: ControlFile
    report: TestnetReport
    answer: bytes
    """The report as it came."""

    def do(self, event: Event) -> bytes:
        """Have it befall the peers; a CommandReport. Raises NodeError where the supervisor refuses, with its reason."""
        return _ask(self.control, EVENTS_PATH, msgspec.json.encode(event))


def find_testnet(data_dir: Path | None) -> RunningTestnet:
    """The testnet in this folder, else the one that this user runs. Raises NodeError where there is none, or several."""
    if data_dir is not None:
        return _testnet_in(data_dir)
    found = [testnet for testnet in map(_testnet_or_none, running_folders()) if testnet is not None]
    if not found:
        raise NoTestnetError("no testnet of yours runs on this machine")
    if len(found) > 1:
        folders = ", ".join(testnet.report.folder for testnet in found)
        raise NodeError(f"{len(found)} testnets run: {folders}", "name one: --data-dir DIR")
    return found[0]


def said_of(answer: bytes) -> str:
    """What was done, in a line."""
    return msgspec.json.decode(answer, type=CommandReport).said


def _testnet_in(folder: Path) -> RunningTestnet:
    control = control_of(folder)
    answer = _ask(control, PEERS_PATH)
    try:
        return RunningTestnet(control, msgspec.json.decode(answer, type=TestnetReport), answer)
    except msgspec.DecodeError as error:
        raise NodeError(f"the testnet's answer is no report: {error}", "use the same version here as the testnet's") from error


def _testnet_or_none(folder: Path) -> RunningTestnet | None:
    """None: it was killed, and left its files behind."""
    try:
        return _testnet_in(folder)
    except NoTestnetError:
        return None


def _ask(control: ControlFile, path: str, body: bytes | None = None) -> bytes:
    """The answer to GET, or to POST with a body. Raises NodeError."""
    headers = {"Authorization": f"Bearer {control.token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{control.address}{path}", body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # our own machine is never behind a proxy
    try:
        with opener.open(request, timeout=ANSWER_SECONDS_MAX) as response:
            content: bytes = response.read(ANSWER_BYTES_MAX)
            return content
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error, control) from error
    except TimeoutError as error:
        message = f"the testnet (pid {control.pid}) did not answer within {ANSWER_SECONDS_MAX:.0f} s"
        raise NodeError(message, "try again once it has less to do") from error
    except (OSError, http.client.HTTPException) as error:
        raise NoTestnetError(f"no testnet answers at {control.address}, where pid {control.pid} listened") from error


def _refusal(error: urllib.error.HTTPError, control: ControlFile) -> NodeError:
    detail = error.read(ANSWER_BYTES_MAX)
    try:
        refusal = msgspec.json.decode(detail, type=Refusal)
    except msgspec.DecodeError:
        return NoTestnetError(f"what answers at {control.address} is not the testnet that pid {control.pid} was: {error.code}")
    return NodeError(refusal.message, refusal.fix, refusal.exit_code)
