"""`status`: what a running peer does, for a person or as JSON."""

from pathlib import Path

import click
import msgspec
from rich.console import Console, RenderableType

from node.api.status import NodeStatus
from node.cli.api_client import fetch, fetch_from_folder
from node.cli.arguments import FOLDER, PEER_ADDRESS
from node.cli.status_view import status_view
from node.common.address import Address
from node.common.errors import NodeError

STATUS_PATH = "/v1/status"


@click.command("status")
@click.option("--data-dir", type=FOLDER, help="The peer's folder.")
@click.option("--api", type=PEER_ADDRESS, help="The address of the peer's API, instead of its folder.")
@click.option("--json", "is_json", is_flag=True, help="Print the peer's answer as it is.")
def command(data_dir: Path | None, api: Address | None, is_json: bool) -> None:
    """Show what a running peer does. Exit code 3: no peer runs there."""
    answer = _answer(data_dir, api)
    if is_json:
        click.echo(answer.decode())
    else:
        _show(status_view(_decode(answer)))


def _answer(data_dir: Path | None, api: Address | None) -> bytes:
    if (data_dir is None) == (api is None):
        raise click.UsageError("give either --data-dir DIR or --api HOST:PORT")
    if api is not None:
        return fetch(api, STATUS_PATH)
    assert data_dir is not None
    return fetch_from_folder(data_dir, STATUS_PATH)


def _decode(answer: bytes) -> NodeStatus:
    try:
        return msgspec.json.decode(answer, type=NodeStatus)
    except msgspec.DecodeError as error:
        raise NodeError(f"the peer's answer is not a status: {error}", "use the same version here as the peer's") from error


def _show(view: RenderableType) -> None:
    with Console() as console:
        console.print(view)
