"""`keygen`: a key without a folder."""

from pathlib import Path

import click

from node.cli.arguments import FILE
from node.common.files import make_folder
from node.storage.identity import create_identity


@click.command("keygen")
@click.argument("path", type=FILE)
def command(path: Path) -> None:
    """Make a new key at PATH (Ed25519, PKCS8 PEM, readable by you alone), and print its peer id. Never overwrites.

    A folder that is missing is made, for you alone.
    """
    make_folder(path.parent)
    click.echo(create_identity(path).peer_id.hex())
