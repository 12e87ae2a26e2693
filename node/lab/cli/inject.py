"""`inject`: disturb the peers of a running testnet, or look at them."""

import importlib
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.cli.arguments import FOLDER
from node.common.errors import EXIT_CANNOT_NOW, EXIT_OK, NodeError
from node.common.wording import agreeing, count, duration, percent
from node.lab.cli.control_client import find_testnet, said_of
from node.lab.scenarios import events
from node.lab.scenarios.events import PeerNumbers
from node.lab.testnet.control import PeerReport, TestnetReport

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
@click.option("--fault", metavar="NAME[:option=value,...]", help='Misbehave from now on; "": be honest again.')
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
    text: str = importlib.import_module("node.lab.faults.chosen").canonical_fault(fault)
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
