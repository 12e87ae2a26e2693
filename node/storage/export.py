"""The agreed model as a safetensors file, with what it takes to check where it comes from."""

from pathlib import Path

import msgspec
import numpy as np

from learning.learner import ModelExported
from learning.models.frame import model_file
from learning.state import decode_kept_state
from learning.task import Layout
from node.common.errors import NodeError, disk_error
from node.common.files import FRAME_FILE_NAME, replace_file
from node.common.wording import command_text
from node.rules.network_rules import NetworkRules, finality_depth, network_id
from node.storage.folder import NodeFolder
from node.storage.store import Store
from node.storage.tables import STATE_KEY, STATE_TABLE

_META_LAYOUT = "layout"


def model_bytes(rules: NetworkRules, layout: Layout, model: ModelExported, final_height: int, folder: Path) -> bytes:
    """A safetensors file that the task's own module loads, with where the model comes from and what was final then as metadata.

    Raises NodeError where the frame in the folder cannot be read.
    """
    metadata = {
        "network_id": network_id(rules).hex(),
        "step_id": model.step.hex(),
        "state_digest": model.state_digest.hex(),
        "height": str(model.height),
        "final_height": str(final_height),
        "finality_depth": str(finality_depth(rules)),
        "task": rules.task.name,
    }
    parameters = np.frombuffer(model.parameters, dtype="<f4")
    return model_file(layout, parameters, metadata, stored_frame(folder))


def store_frame(folder: Path, frame: bytes | None) -> None:
    """Leave what an export needs beside the layout: kept tensors and all names. Written anew only where it differs.

    Raises NodeError.
    """
    path = folder / FRAME_FILE_NAME
    if frame != stored_frame(folder):
        if frame is None:
            path.unlink()
        else:
            replace_file(path, frame, "keep the model's frozen tensors")


def stored_frame(folder: Path) -> bytes | None:
    """What `store_frame` left; None where the layout says it all. Raises NodeError."""
    path = folder / FRAME_FILE_NAME
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error("read the model's frozen tensors", path, error) from error


def store_layout(store: Store, layout: Layout) -> None:
    """Leave the model's layout in the store, so that exporting later needs neither the task nor torch."""
    store.set_meta(_META_LAYOUT, msgspec.json.encode(layout).decode())


def has_run(store: Store) -> bool:
    """Whether the peer of this store has ever come as far as to run: its task was the network's then."""
    return store.meta(_META_LAYOUT) is not None


def stored_layout(store: Store) -> Layout:
    """What `store_layout` left, there before any state is. Raises NodeError where its peer has never run."""
    text = store.meta(_META_LAYOUT)
    if text is None:
        fix = f"start the peer first: {command_text('start', '--data-dir', store.path.parent)}"
        raise NodeError(f"{store.path} holds no model yet: its peer has never run", fix)
    return msgspec.json.decode(text, type=Layout)


def kept_final_model(folder: NodeFolder) -> bytes | None:
    """The newest final model that lies in a stopped peer's folder: of its task and of torch nothing is needed.

    None where there is none yet: the first model follows from the task.
    """
    data = folder.store.get(STATE_TABLE, STATE_KEY)
    if data is None:
        return None
    kept = decode_kept_state(data)
    model = ModelExported(kept.step, kept.height, kept.state_digest, kept.parameters)
    return model_bytes(folder.rules, stored_layout(folder.store), model, kept.height, folder.path)
