"""`python -m node.lab.simulation.swarm`: a batch of seeds. Exit status 0: all pass, 1: some do not."""

import sys
import time

import click

from node.lab.simulation.swarm.run import Ended, Summary, lines_of, replay_command, run_batch

SEEDS_MAX = 1_000_000


@click.command()
@click.option("--seeds", type=click.IntRange(1, SEEDS_MAX), default=100, show_default=True, help="How many runs.")
@click.option("--first", type=click.IntRange(0, 2**63), default=0, show_default=True, help="The first seed; the others follow.")
@click.option("--processes", type=click.IntRange(1, 256), default=2, show_default=True, help="Runs at once.")
@click.option("--brief", "is_brief", is_flag=True, help="Other runs, that take half the time.")
def main(seeds: int, first: int, processes: int, is_brief: bool) -> None:
    """Run small networks, each with its own mix of troubles, under all checkers."""
    began = time.monotonic()

    def tell(ended: Ended) -> None:
        mark = "ok  " if ended.has_passed else "FAIL"
        click.echo(f"{mark} {ended.seed:>7}  {time.monotonic() - began:7.1f} s  height {ended.height:>4}  {ended.title}")
        if not ended.has_passed:
            for line in lines_of(ended.outcome):
                click.echo(f"     {line}")
            click.echo(f"     replay: {replay_command(ended.seed, is_brief=is_brief)}")

    summary = run_batch(range(first, first + seeds), processes, tell, is_brief=is_brief)
    _tell_summary(summary, time.monotonic() - began)
    for ended in summary.failed:
        click.echo(f"failed: {replay_command(ended.seed, is_brief=is_brief)}")
    sys.exit(1 if summary.failed else 0)


def _tell_summary(summary: Summary, seconds: float) -> None:
    click.echo(
        f"\n{summary.runs} runs in {seconds:.0f} s, {len(summary.failed)} failed. Rare paths, and the runs that took them:"
    )
    for path, runs in summary.runs_with.most_common():
        click.echo(f"  {runs:>6}  {path}")
    for path in summary.never_taken:
        click.echo(f"   never  {path.value}")


if __name__ == "__main__":
    main()
