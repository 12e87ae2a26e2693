"""`start`: one peer, until Ctrl-C."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from node.cli.arguments import (
    FILE,
    FOLDER,
    LISTEN_ADDRESS,
    PEER_ADDRESS,
    PUZZLE_SHARE,
    PUZZLE_SHARE_DEFAULT,
    SCORE_SECONDS,
)
from node.common.address import Address
from node.net.listening import check_listening
from node.processes.task_facts import check_installed
from node.rules.network_file import read_network_file
from node.rules.network_rules import NetworkRules
from node.rules.settings import DEFAULT_PORT, SCORE_SECONDS_DEFAULT, PeerSettings
from node.storage.folder import NodeFolder
from node.storage.task_trust import check_named, check_trust


@click.command("start")
@click.option("--data-dir", type=FOLDER, required=True, help="The peer's folder; made when it is new and --network is given.")
@click.option("--network", "network_file", type=FILE, help="The rules, as a file that all peers share.")
@click.option(
    "--listen",
    type=LISTEN_ADDRESS,
    default=f"0.0.0.0:{DEFAULT_PORT}",
    show_default=True,
    help="Where other peers reach this one; port 0: the system chooses.",
)
@click.option("--peer", "peers", type=PEER_ADDRESS, multiple=True, help="Another peer of the network; may be given often.")
@click.option("--observe", "is_observer", is_flag=True, help="Follow and check, but neither search nor lead blocks.")
@click.option(
    "--puzzle-share",
    type=PUZZLE_SHARE,
    default=PUZZLE_SHARE_DEFAULT,
    show_default=True,
    help="The part of one core's time that goes to the puzzle.",
)
@click.option(
    "--score-seconds",
    "score_seconds_max",
    type=SCORE_SECONDS,
    default=SCORE_SECONDS_DEFAULT,
    show_default=True,
    help="What measuring a candidate may take in a task of your own; one that takes longer is the worst.",
)
@click.option("--search/--no-search", "is_searching", default=True, help="Look for candidates of our own. Default: search.")
@click.option(
    "--effort",
    "effort_max",
    type=click.IntRange(1, 1_000),
    help="Strategy joint, total order: rank up to so many times λ mutations, in time that is left. Default: 8.",
)
@click.option(
    "--fault",
    default="",
    metavar="NAME[:option=value,...]",
    help="Misbehave, for trying attacks; `testnet --list-faults` shows how.",
)
@click.option(
    "--trust-task",
    "trusted_task",
    default="",
    metavar="MODULE:ATTRIBUTE",
    help="Run the code of the network's task, which is not built in; asked for once.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What to log.",
)
def command(
    *,
    data_dir: Path,
    network_file: Path | None,
    listen: Address,
    peers: tuple[Address, ...],
    is_observer: bool,
    puzzle_share: float,
    score_seconds_max: float,
    is_searching: bool,
    effort_max: int | None,
    fault: str,
    trusted_task: str,
    log_level: str,
) -> int:
    """Run one peer of a network until Ctrl-C. It goes on where it stopped."""
    settings = PeerSettings(
        data_dir=data_dir,
        network_file=network_file,
        listen_host=listen.host,
        listen_port=listen.port,
        peers=peers,
        is_observer=is_observer,
        is_searching=is_searching and not is_observer,
        puzzle_share=puzzle_share,
        score_seconds_max=score_seconds_max,
        log_level=log_level,
        trusted_task=trusted_task,
        effort_max=effort_max,
    )
    misconduct = _Misconduct(fault) if fault else None
    with _folder(settings, misconduct):
        if misconduct is not None:
            return misconduct.run(settings)
        exit_code: int = importlib.import_module("node.runtime.assembly").run_peer(settings)  # torch: only once all is well
        return exit_code


class _Misconduct:
    """What the lab does for --fault; it is imported for nobody else."""

    def __init__(self, text: str) -> None:
        """Raises NodeError where there is no such fault."""
        self._chosen = importlib.import_module("node.lab.faults.catalogue")
        self._fault: str = self._chosen.canonical_fault(text)

    def check(self, rules: NetworkRules) -> None:
        """Raises NodeError where such a network has nothing that it could change."""
        kinds = (rules.consensus, rules.learning, rules.evolution.strategy)
        self._chosen.check_fault(self._fault, *kinds, "choose another --fault")

    def run(self, settings: PeerSettings) -> int:
        """The exit code of the peer. Raises NodeError."""
        lab = importlib.import_module("node.lab.faults.faulty_peer")
        exit_code: int = lab.run_faulty_peer(settings, lab.Misconduct(self._fault))
        return exit_code


@contextmanager
def _folder(settings: PeerSettings, misconduct: _Misconduct | None) -> Iterator[None]:
    """Made where it is new, and looked at: what is wrong is told at once, before torch is imported or anything is made."""
    address = Address(settings.listen_host, settings.listen_port)
    if settings.network_file is not None and not NodeFolder.is_node_folder(settings.data_dir):
        rules = read_network_file(settings.network_file)
        check_named(rules, settings.trusted_task, "--trust-task")
        check_installed(rules.task.name)
        if misconduct is not None:
            misconduct.check(rules)
        check_listening(address)
        with importlib.import_module("node.storage.first_start").first_folder(settings.data_dir, rules):  # imports safetensors
            with NodeFolder.open(settings.data_dir) as folder:
                check_trust(folder, settings.trusted_task)
            yield
        return
    with NodeFolder.open(settings.data_dir, settings.network_file) as folder:
        check_trust(folder, settings.trusted_task)
        check_installed(folder.rules.task.name)
        if misconduct is not None:
            misconduct.check(folder.rules)
    check_listening(address)
    yield
