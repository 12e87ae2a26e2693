"""`init`: a folder for one peer, and the rules of a network, new or given."""

import secrets
from pathlib import Path

import click

from node.cli.arguments import FILE, FOLDER, TASK_DEFAULT
from node.folder import KEY_FILE_NAME, NodeFolder
from node.network_file import NETWORK_FILE_NAME, NetworkRules, network_id, new_rules, read_network_file
from node.settings import DEFAULT_PORT
from node.strategy import Strategy
from node.task_facts import task_section

BLOCK_INTERVAL_MS_DEFAULT = 500
"""Long enough for a block to reach everybody on a fast network; slower links want some seconds."""


@click.command("init")
@click.argument("folder", type=FOLDER)
@click.option("--network", "network_file", type=FILE, help="Join an existing network by its file, instead of making a new one.")
@click.option("--name", help="What people call the new network. Default: the task's name.")
@click.option("--task", default=TASK_DEFAULT, show_default=True, help='A built-in task, or your own as "module:attribute".')
@click.option(
    "--strategy",
    type=click.Choice([item.value for item in Strategy]),
    default=Strategy.COMMA.value,
    show_default=True,
    help="comma: the best mutation alone; recombination: a mean of the 16 best.",
)
@click.option(
    "--block-interval-ms",
    type=click.IntRange(50, 3_600_000),
    default=BLOCK_INTERVAL_MS_DEFAULT,
    show_default=True,
    help="Mean time between blocks.",
)
def command(
    *, folder: Path, network_file: Path | None, name: str | None, task: str, strategy: str, block_interval_ms: int
) -> None:
    """Make FOLDER with a new key and the rules of a network. Nothing is ever overwritten."""
    if network_file is None:
        section = task_section(task)
        rules = new_rules(
            name or task.rpartition(":")[2], secrets.token_bytes(32), section, Strategy(strategy), block_interval_ms
        )
    else:
        rules = read_network_file(network_file)
    identity = NodeFolder.create(folder, rules)
    click.echo(_what_next(folder, rules, identity.peer_id.hex()))


def _what_next(folder: Path, rules: NetworkRules, peer_id: str) -> str:
    return f"""\
made     {folder}
network  {network_id(rules).hex()}  ({rules.name}, task {rules.task.name})
peer     {peer_id}  (the key is {folder / KEY_FILE_NAME}: keep a copy, show it to nobody)

Start this peer:
  python run_node.py start --data-dir {folder}

On the next machine, with a copy of {folder / NETWORK_FILE_NAME} and this machine's address in place of HOST:
  python run_node.py start --network {NETWORK_FILE_NAME} --data-dir my-peer --peer HOST:{DEFAULT_PORT}"""
