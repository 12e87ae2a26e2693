"""`reproduce`: published comparisons at small scale, how far networks scale, how deep is final: tables and plots in files."""

import importlib
import os
from pathlib import Path

import click

from node.cli.arguments import FOLDER
from node.common.errors import disk_error

PARTS = {
    "evolution": ("members", "liars", "shards", "tasks", "sizes"),
    "kardam": ("filters", "dampening", "overhead", "attacks"),
    "scale": ("crowds", "members"),
    "finality": ("formula", "races"),
}
"""evolution: generations by strategy and number of members; with liars; on unequal shards; evaluations on other tasks; larger
models.
kardam: what the filters cost against f/n; dampening alone; time of one gradient; every rule under every attack.
scale: thousands of peers under proof of work; up to 128 members of a total order.
finality: how long a share of the work needs to undo what is final, by formula and on the chain code."""

SEEDS_DEFAULT = {"evolution": 5, "kardam": 5, "scale": 1, "finality": 100}


@click.command("reproduce")
@click.argument("study", type=click.Choice(list(PARTS)))
@click.option(
    "--out",
    type=FOLDER,
    default="reproduced",
    show_default=True,
    help="Where tables and plots are written, in place of those of an earlier run.",
)
@click.option("--seeds", type=click.IntRange(1, 1_000), help="Runs of each cell. Default: 5, of scale 1, of finality 100.")
@click.option("--processes", type=click.IntRange(1, 256), help="Runs at a time. Default: one per processor.")
@click.option(
    "--part",
    "parts",
    type=click.Choice(list(dict.fromkeys(part for parts in PARTS.values() for part in parts))),
    multiple=True,
    help="Only this part; may be given often. Default: all, which are "
    + "; ".join(f"of {study} {', '.join(parts)}" for study, parts in PARTS.items())
    + ".",
)
def command(*, study: str, out: Path, seeds: int | None, processes: int | None, parts: tuple[str, ...]) -> None:
    """Repeat a STUDY: evolution, kardam (Damaskinos et al., ICML 2018) and the rules that go beyond it, scale, or finality.

    Evolution compares its strategies: joint, comma, plus and recombination. Scale measures thousands of peers and up to 128
    members in virtual time. Finality tells how long a share of the work needs to undo what is final. An interrupted run goes
    on where it was, from the results remembered under OUT.
    """
    foreign = [part for part in parts if part not in PARTS[study]]
    if foreign:
        raise click.BadParameter(f"{foreign[0]!r} is no part of {study}; its parts are {', '.join(PARTS[study])}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error("make the folder", out, error) from error
    module = importlib.import_module(f"node.lab.studies.{study}")  # imports torch, or numpy
    reproduce = getattr(module, f"reproduce_{study}")
    reproduce(out, seeds or SEEDS_DEFAULT[study], processes or os.cpu_count() or 1, parts or PARTS[study], click.echo)
