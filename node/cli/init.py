"""`init`: a folder for one peer, and the rules of a network, new or given."""

import re
import secrets
from functools import partial
from pathlib import Path

import click

from consensus.proof_of_work.rules import ChainRules
from consensus.total_order.committee import MEMBERS_MAX, faulty_max
from learning.evolution.rules import Strategy
from learning.tasks.catalogue import built_in_task
from node.cli.arguments import FILE, FOLDER, TASK_DEFAULT, refuse_given
from node.cli.learning_options import MODEL_PARAMETERS, learning_choice, learning_options, model_options
from node.common.errors import NodeError
from node.common.files import KEY_FILE_NAME, NETWORK_FILE_NAME
from node.common.wording import command_text, counted
from node.processes.task_facts import check_installed
from node.rules.network_file import DEFAULT_CHAIN, new_rules, read_network_file
from node.rules.network_rules import (
    Consensus,
    Learning,
    NetworkRules,
    is_outsider,
    network_id,
)
from node.rules.settings import DEFAULT_PORT
from node.rules.typed_toml import range_of
from node.storage.folder import NodeFolder, link_weights
from node.storage.task_trust import trust

ELSEWHERE = f"HOST:{DEFAULT_PORT}"
"""A person puts another machine in."""

NAME_CHARACTERS_MAX = 64
"""Of a network."""

OUTSIDER = "         (none of the network's members: it will follow and check, and decide nothing)"

OF_NEW_NETWORKS = (
    "name",
    "task",
    "learning",
    "rule",
    "shards",
    *MODEL_PARAMETERS,
    "strategy",
    "block_interval_ms",
    "finality_depth",
)
"""Parameters that go into a network file."""

OPEN_SHARD_COUNT = 16
"""Parts of the training samples where anybody may join; a peer's key selects its part."""


@click.command("init")
@click.argument("folder", type=FOLDER)
@click.option("--network", "network_file", type=FILE, help="Join an existing network by its file, instead of making a new one.")
@click.option("--name", help="What people call the new network. Default: the task's name, or its module's.")
@click.option("--task", default=TASK_DEFAULT, show_default=True, help='A built-in task, or your own as "module:attribute".')
@learning_options
@model_options
@click.option(
    "--strategy",
    type=click.Choice([item.value for item in Strategy]),
    default=Strategy.JOINT.value,
    show_default=True,
    help="What becomes of mutations. joint: all members' rankings together; comma: the published (1,λ)-search; plus: the same, "
    "but the parent stays unless it is beaten; recombination: means of one author's best.",
)
@click.option(
    "--block-interval-ms",
    type=click.IntRange(*range_of(ChainRules, "block_interval_ms")),
    default=DEFAULT_CHAIN.block_interval_ms,
    show_default=True,
    help="Mean time between blocks (proof of work).",
)
@click.option(
    "--finality-depth",
    type=click.IntRange(*range_of(ChainRules, "finality_depth")),
    default=DEFAULT_CHAIN.finality_depth,
    show_default=True,
    help="Blocks on top after which a block is never undone (proof of work).",
)
@click.option(
    "--members",
    "members_count",
    type=click.IntRange(1, MEMBERS_MAX),
    help="A total order among so many new members: makes FOLDER/member-0, member-1, ... with a key each.",
)
@click.option(
    "--member",
    "member_keys",
    multiple=True,
    metavar="KEY",
    help="A total order among members whose public keys were gathered by hand; once for each, ours among them or not.",
)
@click.option(
    "--tolerate",
    type=click.IntRange(0, MEMBERS_MAX),
    help="Refuse fewer members than so many faulty ones need. Default: any number will do.",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    folder: Path,
    network_file: Path | None,
    name: str | None,
    task: str,
    strategy: str,
    block_interval_ms: int,
    finality_depth: int,
    members_count: int | None,
    member_keys: tuple[str, ...],
    tolerate: int | None,
    **_learning: object,
) -> None:
    """Make FOLDER with a new key and the rules of a network. Nothing is ever overwritten.

    Without --members and --member the network is one of proof of work, open to everybody who has its network.toml.
    """
    _check_members(network_file, members_count, member_keys, tolerate)
    _check_of_use(context)
    NodeFolder.check_new(folder)
    if network_file is not None:
        rules = read_network_file(network_file)
        check_installed(rules.task.name)
        identity = NodeFolder.create(folder, rules)
        click.echo(_what_next(folder, rules, identity.peer_id.hex(), first_start=("--peer", ELSEWHERE, *_trusting(rules))))
        return
    is_order = bool(members_count or member_keys)
    choice = learning_choice(context, is_order=is_order, shard_count=OPEN_SHARD_COUNT)
    make = partial(
        new_rules,
        name or _title_of(task),
        secrets.token_bytes(32),
        choice.section_of(task),
        Strategy(strategy),
        gradient=choice.gradient,
        shards=choice.evolution_shards,
        model=choice.model,
        finality_depth=finality_depth,
    )
    members = member_keys or tuple(f"{number:064x}" for number in range(members_count or 0))
    rules = make(block_interval_ms=block_interval_ms, members=members)  # its mistakes are told before anything is made
    if members_count is None:
        identity = NodeFolder.create(folder, rules)
        link_weights(folder, choice.weights)
        _trust_own_task(folder, rules)
        click.echo(_what_next(folder, rules, identity.peer_id.hex()))
        return
    folders = [folder / f"member-{number}" for number in range(members_count)]
    for path in folders:
        NodeFolder.check_new(path)  # all of them before the first is made
    keys = tuple(NodeFolder.create_key(path).peer_id.hex() for path in folders)
    rules = make(block_interval_ms=block_interval_ms, members=keys)
    for path in folders:
        NodeFolder.create(path, rules)
        link_weights(path, choice.weights)
    click.echo(_what_next_for_members(folders, rules))


def _title_of(task: str) -> str:
    """A built-in task's name; of "module:attribute" the module, since attributes are called `task`."""
    module = task.partition(":")[0].rpartition(".")[2]
    return re.sub(r"[^A-Za-z0-9_]", "-", module).lstrip("_-")[:NAME_CHARACTERS_MAX] or "network"


def _trust_own_task(folder: Path, rules: NetworkRules) -> None:
    """Whoever makes a network has named its task, and has run its code. Folders of other members ask their owners."""
    if built_in_task(rules.task.name) is None:
        with NodeFolder.open(folder) as opened:
            trust(opened)


def _check_of_use(context: click.Context) -> None:
    """Raises NodeError where an option is given that another one makes idle."""
    given = context.params
    if given["network_file"] is not None:
        refuse_given(context, OF_NEW_NETWORKS, "with --network, whose file has all rules")
    if given["members_count"] or given["member_keys"]:
        refuse_given(context, ("block_interval_ms", "finality_depth"), "in a total order, which has no puzzles")
    elif given["tolerate"] is not None:
        refuse_given(context, ("tolerate",), "without members: add --members or --member")
    if given["learning"] == Learning.GRADIENT.value:
        refuse_given(context, ("strategy",), "with --learning gradient")


def _check_members(
    network_file: Path | None, members_count: int | None, member_keys: tuple[str, ...], tolerate: int | None
) -> None:
    if members_count and member_keys:
        raise NodeError("--members makes new keys, --member names given ones", "use one of the two")
    if network_file is not None and (members_count or member_keys):
        raise NodeError("--network names a file that says who the members are", "leave out --members and --member")
    count = members_count or len(member_keys)
    if tolerate is not None and count and count < 3 * tolerate + 1:
        raise NodeError(
            f"of {counted(count, 'member')} {faulty_max(count)} may be faulty; for {tolerate} there must be {3 * tolerate + 1}",
            "name more members, or tolerate fewer",
        )


def _what_next_for_members(folders: list[Path], rules: NetworkRules) -> str:
    count = len(folders)
    listed = "\n".join(f"  {path}" for path in folders)
    return f"""\
made     {counted(count, "folder")} for members, each with a key of its own:
{listed}
network  {network_id(rules).hex()}  ({rules.name}, task {rules.task.name}, {rules.consensus} among {counted(count, "member")},
         of whom {faulty_max(count)} may be faulty)

Bring each folder to its member's machine, and to nobody else's. Start each there, with the addresses of some others:
  {command_text("start", "--data-dir", folders[0].name, "--peer", ELSEWHERE, *_trusting(rules))}"""


def _what_next(folder: Path, rules: NetworkRules, peer_id: str, *, first_start: tuple[str, ...] = ()) -> str:
    """`first_start`: what this folder's first start wants besides; where it joins, the address of another peer."""
    with_whom = f", with the address of another one in place of {ELSEWHERE} (the very first needs none)" if first_start else ""
    outsider = f"\n{OUTSIDER}" if is_outsider(rules, peer_id) else ""
    joining = ("start", "--network", NETWORK_FILE_NAME, "--data-dir", "my-peer", "--peer", ELSEWHERE, *_trusting(rules))
    return f"""\
made     {folder}
network  {network_id(rules).hex()}  ({rules.name}, task {rules.task.name})
peer     {peer_id}  (the key is {folder / KEY_FILE_NAME}: keep a copy, show it to nobody){outsider}

Start this peer{with_whom}:
  {command_text("start", "--data-dir", folder, *first_start)}

{_next_machine(rules)}, with a copy of {folder / NETWORK_FILE_NAME} and this machine's address in place of HOST:
  {command_text(*joining)}"""


def _next_machine(rules: NetworkRules) -> str:
    if rules.consensus is Consensus.TOTAL_ORDER:
        return f"On the machine of each other member, with its key as my-peer/{KEY_FILE_NAME}"
    return "On the next machine"


def _trusting(rules: NetworkRules) -> tuple[str, ...]:
    """What a machine that has not heard of the task yet wants to be told besides."""
    return () if built_in_task(rules.task.name) is not None else ("--trust-task", rules.task.name)
