"""`inject`: disturb the peers of a running testnet, or look at them.

Finds a testnet of this user, and asks its supervisor over HTTP, with the standard library alone.
"""

import http.client
import importlib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.cli.arguments import FOLDER
from node.common.errors import EXIT_CANNOT_NOW, EXIT_OK, NodeError
from node.common.wording import agreeing, count, duration, percent
from node.lab.scenarios import events
from node.lab.scenarios.events import Event, PeerNumbers
from node.lab.testnet.control import (
    EVENTS_PATH,
    PEERS_PATH,
    CommandReport,
    ControlFile,
    NoTestnetError,
    PeerReport,
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


DIGITS_MAX = 4
"""Of a peer's number; a testnet has 64 at most."""


class PeerNumbersType(click.ParamType[PeerNumbers]):
    """2 or 2,3."""

    name = "PEERS"

    def convert(self, value: str | PeerNumbers, param: click.Parameter | None, ctx: click.Context | None) -> PeerNumbers:
        """Raises click.BadParameter."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isascii() and part.isdigit() and len(part) <= DIGITS_MAX for part in parts):
            self.fail(f"{value!r} is not a list of peer numbers like 2 or 2,3.", param, ctx)
        return tuple(int(part) for part in parts)


class GroupsType(click.ParamType[tuple[PeerNumbers, ...]]):
    """0,1/2,3."""

    name = "GROUPS"

    def convert(
        self, value: str | tuple[PeerNumbers, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[PeerNumbers, ...]:
        """Raises click.BadParameter."""
        if isinstance(value, tuple):
            return value
        groups = value.split("/")
        if not all(group.strip() for group in groups):
            self.fail(f"{value!r} has an empty group; write groups like 0,1/2,3.", param, ctx)
        return tuple(PEERS.convert(group, param, ctx) for group in groups)


PEERS = PeerNumbersType()


@click.command("inject")
@click.option("--kill", type=PEERS, help="SIGKILL, as a power failure ends a machine.")
@click.option("--pause", type=PEERS, help="Stop all processes of the peers where they are.")
@click.option("--resume", type=PEERS, help="Let paused peers go on.")
@click.option("--restart", type=PEERS, help="Stop peers in good order where they run, and start them from their folders.")
@click.option("--partition", type=GroupsType(), help="Only peers of one group reach each other; the unnamed are one group.")
@click.option("--heal", is_flag=True, help="End the partition.")
@click.option(
    "--fault", metavar="NAME[:option=value,...]", help='Misbehave from now on (`testnet --list-faults`); "": be honest again.'
)
@click.option("--nodes", type=click.IntRange(1), help="With --fault: the last so many of those that are honest and run.")
@click.option("--peers", type=PEERS, help="With --fault: these.")
@click.option("--wipe", type=PEERS, help="Kill peers, and lose their databases; keys stay.")
@click.option("--back-up", type=PEERS, help="Copy the databases of peers as they are now, in place of earlier copies.")
@click.option("--restore-old-disk", type=PEERS, help="Kill peers, and put the copies in place of their databases.")
@click.option("--data-dir", type=FOLDER, help="The testnet's folder. Default: the one testnet that you run.")
@click.option("--json", "is_json", is_flag=True, help="Print the testnet's answer as it is.")
def command(
    *,
    kill: PeerNumbers | None,
    pause: PeerNumbers | None,
    resume: PeerNumbers | None,
    restart: PeerNumbers | None,
    partition: tuple[PeerNumbers, ...] | None,
    heal: bool,
    fault: str | None,
    nodes: int | None,
    peers: PeerNumbers | None,
    wipe: PeerNumbers | None,
    back_up: PeerNumbers | None,
    restore_old_disk: PeerNumbers | None,
    data_dir: Path | None,
    is_json: bool,
) -> int:
    """Do one thing to peers of a running testnet (start one with `testnet --until-interrupted`). Without any: show its peers.

    PEERS are numbers from 0, like 2 or 2,3; GROUPS are like 0,1/2,3.

    Exit code 0: done; 1: no testnet runs, or it cannot be done now; 2: usage.
    """
    given: dict[Callable[[PeerNumbers], events.Event], PeerNumbers | None] = {
        events.Crash: kill,
        events.Pause: pause,
        events.Resume: resume,
        events.Restart: restart,
        events.Wipe: wipe,
        events.BackUp: back_up,
        events.RestoreOldDisk: restore_old_disk,
    }
    wanted = [event(numbers) for event, numbers in given.items() if numbers is not None]
    wanted += [] if partition is None else [events.Partition(partition)]
    wanted += [events.Heal()] if heal else []
    wanted += [] if fault is None else [events.Misbehave(peers or (), _canonical(fault))]
    _check_usage(wanted, fault, nodes, peers)
    testnet = find_testnet(data_dir)
    if not wanted:
        _show(testnet.report, testnet.answer if is_json else None)
        return EXIT_OK
    (event,) = wanted
    if isinstance(event, events.Misbehave) and nodes is not None:
        event = events.Misbehave(_last(testnet.report.peers, nodes, is_honest=bool(fault)), event.fault)
    answer = testnet.do(event)
    click.echo(answer.decode() if is_json else f"{testnet.report.folder}: {said_of(answer)}")
    return EXIT_OK


def _canonical(fault: str) -> str:
    """The fault with all its parameters; the catalogue imports numpy. Raises NodeError."""
    text: str = importlib.import_module("node.lab.faults.catalogue").canonical_fault(fault)
    return text


def _check_usage(wanted: list[events.Event], fault: str | None, nodes: int | None, peers: PeerNumbers | None) -> None:
    if len(wanted) > 1:
        raise NodeError("more than one thing to do is given", "do one after the other: one option a call")
    if fault is None and (nodes is not None or peers is not None):
        raise NodeError("--nodes and --peers belong to --fault", "say how they misbehave: --fault NAME")
    if fault is not None and (nodes is None) == (peers is None):
        raise NodeError("--fault needs to know who misbehaves", "give either --nodes K or --peers 0,3")


UP = ("starting", "running", "silent")
"""States in which a peer can be told how to behave."""


def _last(peers: tuple[PeerReport, ...], wanted: int, *, is_honest: bool) -> PeerNumbers:
    """The last so many that run and are honest, or are not. Raises NodeError where there are fewer."""
    fitting = [
        peer.number
        for peer in peers
        if peer.state in UP and (not (peer.fault or peer.was_faulty) if is_honest else bool(peer.fault))
    ]
    if wanted > len(fitting):
        conduct = f"{agreeing(len(fitting), 'is')} {'honest' if is_honest else 'told to misbehave'}"
        raise NodeError(
            f"--nodes is {wanted}, but of the peers that run only {len(fitting)} {conduct}",
            "ask for fewer, or name them with --peers",
            EXIT_CANNOT_NOW,
        )
    return tuple(fitting[-wanted:])


def _show(report: TestnetReport, answer: bytes | None) -> None:
    if answer is not None:
        click.echo(answer.decode())
        return
    console = Console(highlight=False)
    console.print(f"testnet in {report.folder}, {report.consensus}, {report.learning}, for {duration(report.seconds)}")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("peer", "height", "test", "links"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    for peer in report.peers:
        figures = (str(peer.number), count(peer.height), percent(peer.test_accuracy), count(peer.peers_connected))
        table.add_row(*figures, Text(_state_of(peer)))
    console.print(table)


def _state_of(peer: PeerReport) -> str:
    conduct = f"faulty: {peer.fault}" if peer.fault else "was faulty" if peer.was_faulty else ""
    group = "" if peer.group is None else f"in group {peer.group}"
    return ", ".join(filter(None, (peer.state, conduct, group)))
