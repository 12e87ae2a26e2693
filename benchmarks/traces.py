"""Whether a change leaves what peers do as it was: trace digests of the first seeds, kept in a file and compared with it.

    python benchmarks/traces.py record FILE [--seeds 240]
    python benchmarks/traces.py compare FILE

A digest covers every effect and answer of every peer, with its time: so it holds for one machine, and for one version of the
torch and numpy that it was recorded with.
"""

import json
import sys
from pathlib import Path

import click

from node.lab.simulation.swarm.run import Ended, run_batch


@click.group()
def main() -> None:
    """Record or compare trace digests."""


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--seeds", type=click.IntRange(1, 100_000), default=240, show_default=True, help="How many, from 0 on.")
def record(file: Path, seeds: int) -> None:
    """Write the digests of the present tree to FILE."""
    file.write_text(json.dumps(digests_of(range(seeds)), indent=0) + "\n", encoding="utf-8")
    click.echo(f"{seeds} digests in {file}")


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def compare(file: Path) -> None:
    """Run the seeds of FILE again; exit status 1 where a digest is another one."""
    recorded: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    found = digests_of(range(len(recorded)))
    changed = [seed for seed, digest in recorded.items() if found[seed] != digest]
    click.echo(f"{len(changed)} of {len(recorded)} traces have changed" + (f": seeds {', '.join(changed)}" if changed else ""))
    sys.exit(1 if changed else 0)


def digests_of(seeds: range) -> dict[str, str]:
    """The digest of each seed's brief run; says on the way how far it is."""
    digests: dict[str, str] = {}

    def tell(ended: Ended) -> None:
        digests[str(ended.seed)] = ended.trace_digest
        if len(digests) % 20 == 0:
            click.echo(f"{len(digests)} of {len(seeds)}", err=True)

    run_batch(seeds, 2, tell, is_brief=True)
    return dict(sorted(digests.items(), key=lambda item: int(item[0])))


if __name__ == "__main__":
    main()
