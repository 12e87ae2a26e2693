"""`testnet`: a whole network on this machine; with `--scenario` what befalls it is in a file."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import click
from click.core import ParameterSource

from learning.evolution.rules import Strategy
from node.cli.arguments import (
    FILE,
    FOLDER,
    PUZZLE_SHARE,
    PUZZLE_SHARE_DEFAULT,
    SCORE_SECONDS,
    TASK_DEFAULT,
    Metric,
    NumberRange,
    is_given,
    refuse_given,
)
from node.cli.learning_options import MODEL_PARAMETERS, learning_choice, learning_options, model_options
from node.common.errors import NodeError
from node.common.goal import ACCURACY, MetricGoal
from node.lab.faults.catalogue import canonical_fault, check_fault, fault_list
from node.lab.testnet.settings import TestnetSettings
from node.processes.task_facts import check_installed
from node.rules.network_file import read_network_file
from node.rules.network_rules import Consensus, Learning
from node.rules.settings import SCORE_SECONDS_DEFAULT
from node.storage.task_trust import check_named

WAYS = ("auto", "namespaces", "refusal")

MAY_BE_GIVEN = ("scenario", "partition_by", "task", "puzzle_share", "score_seconds_max", "data_dir", "is_kept", "is_json")
"""With a scenario; everything else is in the file."""

PUZZLE_CORES = 0.5
"""The part of all cores that puzzles take unless told otherwise: what peers do else is on time then."""

PUZZLE_SHARE_MIN = 0.05


def scenario_options(command: Callable[..., object]) -> Callable[..., object]:
    """Adds --scenario and --partition-by."""
    options = (
        click.option("--scenario", type=FILE, help="Play this file on real peers: the same format as that of `simulate`."),
        click.option(
            "--partition-by",
            type=click.Choice(WAYS),
            default=WAYS[0],
            show_default=True,
            help="How a scenario keeps peers apart: by network namespaces (Linux, as root), or by the peers' own refusal.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def check_alone(context: click.Context) -> None:
    """Raises NodeError where an option is given that is for the scenario's file to say."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in MAY_BE_GIVEN and is_given(context, name):
            option = parameter.opts[0]
            raise NodeError(f"{option} contradicts --scenario, whose file says everything but the task", f"leave {option} out")


def check_partition(context: click.Context) -> None:
    """Raises NodeError where --partition-by is given, and there is nothing that parts."""
    if is_given(context, "partition_by"):
        raise NodeError("--partition-by is of no use without --scenario", "add --scenario FILE")


def play(context: click.Context, path: Path, partition_by: str, data_dir: Path | None, *, is_kept: bool, is_json: bool) -> int:
    """Read the file and play it; the exit code. Raises NodeError."""
    script = importlib.import_module("node.lab.testnet.chaos").read_script(path)  # imports numpy
    share = context.params["puzzle_share"]
    if not is_given(context, "puzzle_share"):
        share = max(PUZZLE_SHARE_MIN, min(PUZZLE_SHARE_DEFAULT, PUZZLE_CORES * (os.cpu_count() or 1) / script.peers))
    task = context.params["task"] if is_given(context, "task") else None
    settings = TestnetSettings(
        nodes=script.peers,
        consensus=script.consensus,
        learning=script.learning,
        task=task or script.task,
        strategy=Strategy.PLUS,
        gradient=None,
        faulty=0,
        fault="",
        network_file=None,
        goal=MetricGoal(ACCURACY, 1.0),
        is_until_interrupted=False,
        deadline_s=script.duration_ms / 1000,
        data_dir=data_dir,
        is_kept=is_kept,
        is_json=is_json,
        puzzle_share=share,
        score_seconds_max=context.params["score_seconds_max"],
        scenario=script.name,
    )
    module = importlib.import_module("node.lab.testnet.scenario_run")  # imports aiohttp, starts torch
    code: int = module.run_scenario(settings, script, task, module.PartitionBy(partition_by))
    return code


def _list_faults(context: click.Context, parameter: click.Parameter, is_asked: bool) -> None:  # noqa: ARG001
    """The callback of --list-faults."""
    if is_asked and not context.resilient_parsing:
        click.echo(fault_list())
        context.exit()


DEADLINE_S_MIN, DEADLINE_S_DEFAULT, DEADLINE_S_MAX = 1.0, 300.0, 86_400.0

NODES_MAX = 64
"""Each peer has three processes and 50 to 100 MB of its own."""


@click.command("testnet")
@click.option("--nodes", type=click.IntRange(1, NODES_MAX), default=4, show_default=True, help="How many peers.")
@click.option(
    "--consensus",
    type=click.Choice([item.value for item in Consensus]),
    default=Consensus.PROOF_OF_WORK.value,
    show_default=True,
    help="How peers agree on one order.",
)
@learning_options
@model_options
@click.option("--task", default=TASK_DEFAULT, show_default=True, help='A built-in task, or your own as "module:attribute".')
@click.option(
    "--strategy",
    type=click.Choice([item.value for item in Strategy]),
    default=Strategy.JOINT.value,
    show_default=True,
    help="What becomes of mutations. joint: all members' rankings together; comma: the published (1,λ)-search; plus: the same, "
    "but the parent stays unless it is beaten; recombination: means of one author's best.",
)
@click.option(
    "--faulty", type=click.IntRange(0, NODES_MAX), default=0, show_default=True, help="So many peers, the last ones, misbehave."
)
@click.option("--fault", metavar="NAME[:option=value,...]", help="How they misbehave: a name that --list-faults shows.")
@click.option(
    "--list-faults", is_flag=True, is_eager=True, expose_value=False, callback=_list_faults, help="Show all faults, and exit."
)
@click.option("--network", "network_file", type=FILE, help="Rules to use; consensus, learning, task and strategy are in it.")
@click.option(
    "--until",
    "goal",
    type=Metric(),
    help="The goal, by fitness or any figure that the task tells: 'fitness>=-20', 'test_loss<=0.3'. Quote it.",
)
@click.option(
    "--until-accuracy", type=NumberRange(0.0, 1.0), default=0.9, show_default=True, help="Short for --until test_accuracy."
)
@click.option(
    "--until-interrupted", "is_until_interrupted", is_flag=True, help="Go on after the goal, until Ctrl-C or --deadline."
)
@click.option(
    "--deadline",
    "deadline_s",
    type=NumberRange(DEADLINE_S_MIN, DEADLINE_S_MAX),
    help=f"Seconds to reach it. Default: {DEADLINE_S_DEFAULT:.0f}, or with --until-interrupted a day.",
)
@click.option("--plot", type=FILE, help="Draw the goal's figure over time and generations into this SVG file, in the end.")
@click.option("--data-dir", type=FOLDER, help="Where the peers' folders are made. Default: a temporary folder.")
@click.option("--keep", "is_kept", is_flag=True, help="Keep the folders afterwards.")
@click.option("--json", "is_json", is_flag=True, help="Print the outcome as one JSON object, the last line.")
@click.option(
    "--puzzle-share",
    type=PUZZLE_SHARE,
    default=PUZZLE_SHARE_DEFAULT,
    show_default=True,
    help="The part of one core's time that each peer's puzzle may take; less by itself where a scenario has many peers.",
)
@click.option(
    "--score-seconds",
    "score_seconds_max",
    type=SCORE_SECONDS,
    default=SCORE_SECONDS_DEFAULT,
    show_default=True,
    help="What measuring a candidate may take in a task of your own; one that takes longer is the worst.",
)
@scenario_options
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    nodes: int,
    consensus: str,
    task: str,
    faulty: int,
    fault: str | None,
    network_file: Path | None,
    until_accuracy: float,
    goal: MetricGoal | None,
    is_until_interrupted: bool,
    deadline_s: float | None,
    plot: Path | None,
    data_dir: Path | None,
    is_kept: bool,
    is_json: bool,
    puzzle_share: float,
    score_seconds_max: float,
    scenario: Path | None,
    partition_by: str,
    **_learning: object,
) -> int:
    """Run peers as processes on this machine until their model is good enough and all agree on it.

    With --scenario: play what the file says on them, read their stores, and check them as `simulate` does.

    Exit code 0: done; 1: not in time, or no progress; 2: usage; 3: peers disagree, or contradict themselves; 130: Ctrl-C.
    """
    if scenario is not None:
        check_alone(context)
        return play(context, scenario, partition_by, data_dir, is_kept=is_kept, is_json=is_json)
    _refuse_contradictions(context, network_file, goal)
    choice = learning_choice(context, is_order=consensus == Consensus.TOTAL_ORDER, shard_count=nodes)
    kinds = consensus, learning, strategy = _kinds_of(context, network_file, task)
    settings = TestnetSettings(
        nodes=nodes,
        consensus=consensus,
        learning=learning,
        task=task,
        strategy=strategy,
        gradient=choice.gradient,
        faulty=faulty,
        fault=_fault(nodes, faulty, fault, kinds),
        network_file=network_file,
        goal=goal or MetricGoal(ACCURACY, until_accuracy),
        is_until_interrupted=is_until_interrupted,
        deadline_s=deadline_s or (DEADLINE_S_MAX if is_until_interrupted else DEADLINE_S_DEFAULT),
        data_dir=data_dir,
        is_kept=is_kept,
        is_json=is_json,
        puzzle_share=puzzle_share,
        shards=choice.evolution_shards,
        score_seconds_max=score_seconds_max,
        plot=plot,
        model=choice.model,
        start_weights=choice.weights,
    )
    return _run(settings)


def _run(settings: TestnetSettings) -> int:
    supervisor = importlib.import_module("node.lab.testnet.supervisor")  # imports aiohttp, starts torch
    exit_code: int = supervisor.run_testnet(settings)
    return exit_code


def _refuse_contradictions(context: click.Context, network_file: Path | None, goal: MetricGoal | None) -> None:
    """Raises NodeError where two options say the same thing, or one says nothing."""
    check_partition(context)
    if goal is not None:
        refuse_given(context, ("until_accuracy",), "with --until, which says the whole goal")
    if network_file is not None:
        of_rules = ("consensus", "learning", "rule", "shards", "strategy", *MODEL_PARAMETERS)
        refuse_given(context, of_rules, "with --network, whose file has all rules")
    elif context.params["learning"] == Learning.GRADIENT.value:
        refuse_given(context, ("strategy",), "with --learning gradient")


Kinds = tuple[Consensus, Learning, Strategy]


def _kinds_of(context: click.Context, network_file: Path | None, task: str) -> Kinds:
    """What the options or the given rules say; their mistakes are told before anything starts. Raises NodeError."""
    if network_file is None:
        given = context.params
        return Consensus(given["consensus"]), Learning(given["learning"]), Strategy(given["strategy"])
    rules = read_network_file(network_file)
    if rules.total_order.members:
        raise NodeError(
            f"{network_file} names its members, whose keys a testnet does not have",
            "use --consensus total-order, which makes its own",
        )
    is_given = context.get_parameter_source("task") is ParameterSource.COMMANDLINE
    if is_given and task != rules.task.name:
        raise NodeError(
            f"--task {task} is not what {network_file} says, which is {rules.task.name}", "leave --task out, or name that one"
        )
    check_named(rules, task, "--task")
    check_installed(rules.task.name)
    return rules.consensus, rules.learning, rules.evolution.strategy


def _fault(nodes: int, faulty: int, fault: str | None, kinds: Kinds) -> str:
    """The canonical text of the fault that is asked for; empty when all are honest. Raises NodeError."""
    if not faulty and fault is None:
        return ""
    if fault is None or not faulty:
        raise NodeError("--faulty K and --fault NAME belong together", "give both, like --faulty 1 --fault sign-flip")
    if faulty >= nodes:
        raise NodeError(
            f"--faulty is {faulty}, allowed: 1 to {nodes - 1}, so that somebody is honest", "ask for fewer, or for more --nodes"
        )
    text = canonical_fault(fault)
    check_fault(text, *kinds, "choose another fault, --consensus, --learning or --strategy")
    return text
