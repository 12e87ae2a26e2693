"""`testnet --scenario`: its options, and which others it leaves to choose."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import click

from learning.evolution.rules import Strategy
from node.cli.arguments import FILE, PUZZLE_SHARE_DEFAULT, is_given
from node.common.errors import NodeError
from node.lab.testnet.settings import TestnetSettings

WAYS = ("auto", "namespaces", "refusal")

MAY_BE_GIVEN = ("scenario", "partition_by", "task", "puzzle_share", "data_dir", "is_kept", "is_json")
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
    script = importlib.import_module("node.lab.testnet.scenario_commands").read_script(path)  # imports numpy
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
        until_accuracy=1.0,
        until_fitness=None,
        is_until_interrupted=False,
        deadline_s=script.duration_ms / 1000,
        data_dir=data_dir,
        is_kept=is_kept,
        is_json=is_json,
        puzzle_share=share,
        scenario=script.name,
    )
    module = importlib.import_module("node.lab.testnet.scenario_run")  # imports aiohttp, starts torch
    code: int = module.run_scenario(settings, script, task, module.PartitionBy(partition_by))
    return code
