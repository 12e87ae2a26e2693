"""`reproduce`: the published comparisons at small scale, as tables and plots in files."""

import importlib
import os
from pathlib import Path

import click

from node.cli.arguments import FOLDER
from node.errors import disk_error

PARTS = ("filters", "dampening", "overhead", "attacks")
"""What the filters cost against f/n; dampening alone; time of the judge; every rule under every attack."""

SEEDS_DEFAULT = 5


@click.command("reproduce")
@click.argument("paper", type=click.Choice(["kardam"]))
@click.option("--out", type=FOLDER, default="reproduced", show_default=True, help="Where tables and plots are written.")
@click.option("--seeds", type=click.IntRange(1, 1_000), default=SEEDS_DEFAULT, show_default=True, help="Runs of each cell.")
@click.option("--processes", type=click.IntRange(1, 256), help="Runs at a time. Default: one per processor.")
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Only this part; may be given often.")
def command(*, paper: str, out: Path, seeds: int, processes: int | None, parts: tuple[str, ...]) -> None:
    """Repeat the comparisons of a PAPER: kardam (Damaskinos et al., ICML 2018), and the rules that go beyond it.

    An interrupted run goes on where it was, from the results remembered under OUT.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error("make the folder", out, error) from error
    module = importlib.import_module(f"node.reproduce.{paper}")  # imports torch
    module.reproduce_kardam(out, seeds, processes or os.cpu_count() or 1, parts or PARTS, click.echo)
