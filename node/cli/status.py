"""`status`: what a running peer does, for a person or as JSON."""

from pathlib import Path

import click
import msgspec
from rich.console import Console, RenderableType

from node.api_address import read_api_address
from node.cli.api_client import fetch
from node.cli.arguments import FOLDER, PEER_ADDRESS
from node.cli.status_view import status_view
from node.errors import NodeError
from node.settings import Address
from node.status import NodeStatus


@click.command("status")
@click.option("--data-dir", type=FOLDER, help="The peer's folder.")
@click.option("--api", type=PEER_ADDRESS, help="The address of the peer's API, instead of its folder.")
@click.option("--json", "is_json", is_flag=True, help="Print the peer's answer as it is.")
def command(data_dir: Path | None, api: Address | None, is_json: bool) -> None:
    """Show what a running peer does. Exit code 3: no peer runs there."""
    answer = fetch(_api_of(data_dir, api), "/v1/status")
    if is_json:
        click.echo(answer.decode())
    else:
        _show(status_view(_decoded(answer)))


def _api_of(data_dir: Path | None, api: Address | None) -> Address:
    if (data_dir is None) == (api is None):
        raise click.UsageError("give either --data-dir DIR or --api HOST:PORT")
    if api is not None:
        return api
    assert data_dir is not None
    return read_api_address(data_dir)


def _decoded(answer: bytes) -> NodeStatus:
    try:
        return msgspec.json.decode(answer, type=NodeStatus)
    except msgspec.DecodeError as error:
        raise NodeError(f"the peer's answer is not a status: {error}", "use the same version here as the peer's") from error


def _show(view: RenderableType) -> None:
    with Console() as console:
        console.print(view)
