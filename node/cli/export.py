"""`export`: the agreed model, from a running peer or from a stopped one's folder."""

import importlib
import json
from pathlib import Path

import click

from node.cli.api_client import fetch_from_folder
from node.cli.arguments import FILE, FOLDER, force_option
from node.common.errors import EXIT_GOAL_NOT_MET, NodeError, NotRunningError
from node.common.files import check_free, replace_file
from node.common.wording import counted, finality
from node.storage.folder import NodeFolder

LENGTH_BYTES = 8
"""A safetensors file begins with the length of its JSON header, little-endian."""

MODEL_PATH = "/v1/model/file"


@click.command("export")
@click.argument("path", type=FILE)
@click.option("--data-dir", type=FOLDER, required=True, help="The peer's folder.")
@click.option("--final", "is_final", is_flag=True, help="The newest final model, which nothing undoes, instead of the newest.")
@force_option
@click.option("--json", "is_json", is_flag=True, help="Print as one JSON object what was written, and what of it is final.")
@click.option(
    "--trust-task", "trusted_task", default="", metavar="MODULE:ATTRIBUTE", help="Of a stopped peer: run the code of its task."
)
def command(*, path: Path, data_dir: Path, is_final: bool, is_forced: bool, is_json: bool, trusted_task: str) -> None:
    """Save the agreed model to PATH (safetensors): the one at the peer's head, or with --final the newest final one.

    Metadata: network id, step id, state digest, height, task, and up to which height the chain was final.
    """
    if path.suffix != ".safetensors":
        raise NodeError(f"{path} does not end in .safetensors", f"write {path.with_suffix('.safetensors')}")
    check_free(path, is_forced=is_forced)
    try:
        content = fetch_from_folder(data_dir, f"{MODEL_PATH}?final" if is_final else MODEL_PATH)
    except NotRunningError:  # then what its folder holds is ours to read
        content = _from_folder(data_dir, trusted_task, is_final=is_final)
    document = _document(path, content)
    replace_file(path, content, "write the model")
    click.echo(json.dumps(document) if is_json else f"wrote {path}: {_report(document, is_final=is_final)}")


def _from_folder(data_dir: Path, trusted_task: str, *, is_final: bool) -> bytes:
    """Raises NodeError."""
    with NodeFolder.open(data_dir) as folder:
        kept: bytes | None = (
            importlib.import_module("node.storage.export").kept_final_model(folder) if is_final else None
        )  # numpy
        if kept is not None:
            return kept
        stopped_model = importlib.import_module("node.runtime.stopped_model")  # torch
        model: bytes = stopped_model.recomputed_model(folder, trusted_task, is_final=is_final)
        return model


def _document(path: Path, content: bytes) -> dict[str, object]:
    """Read off the file itself. Raises NodeError where it is no model."""
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    try:
        facts: dict[str, str] = json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length])["__metadata__"]
        height, final_height, depth = (int(facts[name]) for name in ("height", "final_height", "finality_depth"))
    except (ValueError, KeyError, TypeError) as error:
        raise NodeError("what came is no model with its origin", "use the peer's own version", EXIT_GOAL_NOT_MET) from error
    numbers = {"height": height, "final_height": final_height, "finality_depth": depth}
    numbers |= {"is_final": height <= final_height, "is_trained": height > 0}
    return {"path": str(path), **facts, **numbers}


def _report(document: dict[str, object], *, is_final: bool) -> str:
    """`is_final`: the newest final model was asked for."""
    height, final_height, depth = (document[name] for name in ("height", "final_height", "finality_depth"))
    assert isinstance(height, int)
    assert isinstance(final_height, int)
    assert isinstance(depth, int)
    if height == 0:
        why = f"no other is final before {counted(depth, 'block')} lie on top of it; the newest comes without --final"
        return f"the first model, untrained: {why if is_final and depth else 'no step has been taken yet'}"
    if height <= final_height:
        return f"the model at height {height:,}, which is final"
    return f"the model at height {height:,}, which is not final yet; final: {finality(height, final_height, depth)}"
