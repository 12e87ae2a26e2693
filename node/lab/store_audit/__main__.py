"""`python -m node.lab.store_audit DIR`: read the stores that a testnet has left (`testnet --keep`), and say what they show.

Exit code 0: nothing; 2: usage; 3: a finding.
"""

import sys
from pathlib import Path

import click

from consensus.types import Instant, PeerId
from node.cli.arguments import FOLDER
from node.common.errors import NodeError
from node.common.files import KEY_FILE_NAME, NETWORK_FILE_NAME
from node.lab.checkers.finding import RunOutcome
from node.lab.checkers.progress import ExpectedPace
from node.lab.scenarios.scenario_rules import TOY_TASKS
from node.lab.simulation.report import excerpt_lines, exit_code, reason
from node.lab.store_audit.autopsy import Autopsy
from node.rules.network_file import read_network_file
from node.storage.identity import load_identity
from node.storage.task_trust import check_named

NOTHING_EXPECTED = ExpectedPace(0, sys.maxsize)
"""The dead make no progress."""


@click.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--faulty", default="", metavar="K,...", help="Peers that were told to misbehave, by number: nobody answers for them."
)
@click.option("--trust-task", "trusted_task", default="", metavar="MODULE:ATTRIBUTE", help="Run the code of its task.")
def command(folder: Path, faulty: str, trusted_task: str) -> None:
    """Read the stores of all peers of the testnet in FOLDER."""
    try:
        sys.exit(_examine(folder, faulty, trusted_task))
    except NodeError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.fix is not None:
            click.echo(f"fix: {error.fix}", err=True)
        sys.exit(error.exit_code)


def _examine(folder: Path, faulty: str, trusted_task: str) -> int:
    paths = sorted((path.parent for path in folder.glob(f"*/{KEY_FILE_NAME}")), key=_number)
    if not paths:
        raise NodeError(f"{folder} holds no folder of a peer", "name the folder of a testnet that was run with --keep")
    peers = [PeerId(load_identity(path / KEY_FILE_NAME).peer_id) for path in paths]
    rules = read_network_file(folder / NETWORK_FILE_NAME)
    if rules.task.name not in TOY_TASKS.values():
        check_named(rules, trusted_task, "--trust-task")
    guilty = frozenset(peers[number] for number in _numbers(faulty, len(peers)))
    autopsy = Autopsy(rules, zip(peers, paths, strict=True), guilty, Instant(0), is_followed=False)
    autopsy.read_to_the_end(Instant(0))
    autopsy.checkers.progress.calm(Instant(0))
    outcome = autopsy.checkers.run_outcome((), NOTHING_EXPECTED, Instant(0))
    missing = [path.name for peer, path in zip(peers, paths, strict=True) if peer in autopsy.missing]
    _report(outcome, _stores(len(paths) - len(guilty), missing), autopsy.events_seen)
    return exit_code(outcome)


def _stores(honest: int, missing: list[str]) -> str:
    """Those of the faulty are left unread."""
    some = f" (none in {', '.join(missing)})" if missing else ""
    return f"{honest - len(missing)} stores{some}"


def _report(outcome: RunOutcome, stores: str, seen: int) -> None:
    click.echo(f"{stores}, {seen:,} records and what follows from them: {reason(outcome) or 'nothing contradicts'}")
    for line in excerpt_lines(outcome):
        click.echo(f"  | {line}")


def _numbers(text: str, peers: int) -> tuple[int, ...]:
    """Raises NodeError."""
    numbers = tuple(text.split(",")) if text else ()
    for number in numbers:
        if not number.isdecimal() or int(number) >= peers:
            raise NodeError(f"--faulty names {number!r}; allowed is 0 to {peers - 1}, like 1,3", None)
    return tuple(int(number) for number in numbers)


def _number(path: Path) -> tuple[int, str]:
    """peer-10 comes after peer-9."""
    digits = "".join(filter(str.isdecimal, path.name))
    return int(digits or 0), path.name


if __name__ == "__main__":
    command()
