"""`export`: the agreed model, from a running peer or from a stopped one's folder."""

import importlib
from pathlib import Path

import click

from node.cli.api_client import fetch_from_folder
from node.cli.arguments import FILE, FOLDER
from node.errors import NodeError, NotRunningError
from node.files import replace_file


@click.command("export")
@click.argument("path", type=FILE)
@click.option("--data-dir", type=FOLDER, required=True, help="The peer's folder.")
def command(path: Path, data_dir: Path) -> None:
    """Save the agreed model to PATH (safetensors), with network id, step id, state digest, height and task as metadata."""
    if path.suffix != ".safetensors":
        raise NodeError(f"{path} does not end in .safetensors", f"write {path.with_suffix('.safetensors')}")
    try:
        content = fetch_from_folder(data_dir, "/v1/model/file")
    except NotRunningError:  # then what its folder holds is ours to read
        importlib.import_module("node.export").export_from_folder(data_dir, path)  # imports numpy
    else:
        replace_file(path, content, "write the model")
    click.echo(f"wrote {path}")
