"""`simulate`: a scenario over virtual time, with one seed to replay it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import click

from node.cli.arguments import FILE, force_option
from node.common.errors import NodeError
from node.common.files import check_free
from node.common.wording import with_our_code

SEED_MAX = 2**63 - 1

OTHER_HASH_SEED = "4711"
"""Of the repeated run. Python's own, which orders sets of bytes, is drawn at random for each process."""


@click.command("simulate")
@click.argument("scenario", type=FILE)
@click.option(
    "--seed", type=click.IntRange(0, SEED_MAX), default=1, show_default=True, help="Everything random follows from it."
)
@click.option("--json", "is_json", is_flag=True, help="Print the outcome as one JSON object.")
@click.option("--trace", "trace_file", type=FILE, help="Write every effect and answer to this file, a line each.")
@force_option
@click.option("--repeat", is_flag=True, help="Run again where sets have another order: the traces must be equal.")
def command(*, scenario: Path, seed: int, is_json: bool, trace_file: Path | None, is_forced: bool, repeat: bool) -> int:
    """Run the network that the file SCENARIO describes in this process, over virtual time, and check all that its peers do.

    Exit code 0: it passed; 1: no progress after the last event; 2: usage; 3: peers diverged, or a repeated run did;
    130: Ctrl-C.
    """
    if trace_file is not None:
        check_free(trace_file, is_forced=is_forced)
    simulation = importlib.import_module("node.lab.simulation.report")  # imports numpy
    result = simulation.run_file(scenario, seed, trace_file, _tell_progress)
    if repeat:
        result = result.compared(_trace_of_another_run(scenario, seed))
    for line in (json.dumps(result.document),) if is_json else result.lines:
        click.echo(line)
    code: int = result.exit_code
    return code


def _tell_progress(passed_ms: int, duration_ms: int) -> None:
    """One line that changes, on a terminal only."""
    if sys.stderr.isatty():
        click.echo(f"\r{passed_ms // 1000} of {duration_ms // 1000} s ", err=True, nl=passed_ms >= duration_ms)


def _trace_of_another_run(scenario: Path, seed: int) -> str:
    """The hash of the same run in a process that orders its sets otherwise. Raises NodeError."""
    code = "from node.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "simulate", str(scenario), "--seed", str(seed), "--json"],
        env={**with_our_code(), "PYTHONHASHSEED": OTHER_HASH_SEED},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        trace: str = json.loads(done.stdout)["trace"]
    except (ValueError, KeyError) as error:
        raise NodeError(f"the repeated run failed: {done.stderr.strip()[-500:]}", None) from error
    return trace
