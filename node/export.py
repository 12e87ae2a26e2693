"""The agreed model as a safetensors file, with what it takes to check where it comes from."""

from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save

from learning.checkpoint import decode_kept_state
from learning.learner import ModelExported
from learning.task import Layout
from node.errors import NodeError
from node.files import replace_file
from node.folder import NodeFolder
from node.network_file import NetworkRules, network_id
from node.replica import STATE_KEY, STATE_TABLE
from node.store import Store

_META_LAYOUT = "layout"


def model_bytes(rules: NetworkRules, layout: Layout, model: ModelExported) -> bytes:
    """A safetensors file with the layout's tensors and network id, step id, state digest, height and task as metadata."""
    flat = np.frombuffer(model.parameters, dtype="<f4").astype(np.float32)
    assert sum(block.size for block in layout) == flat.size, f"{flat.size} parameters do not fit the layout"
    tensors, start = {}, 0
    for block in layout:
        tensors[block.name] = flat[start : start + block.size].reshape(block.shape)
        start += block.size
    metadata = {
        "network_id": network_id(rules).hex(),
        "step_id": model.step.hex(),
        "state_digest": model.state_digest.hex(),
        "height": str(model.height),
        "task": rules.task.name,
    }
    return save(tensors, metadata=metadata)


def store_layout(store: Store, layout: Layout) -> None:
    """Leave the model's layout in the store, so that exporting later needs neither the task nor torch."""
    store.set_meta(_META_LAYOUT, msgspec.json.encode(layout).decode())


def stored_layout(store: Store) -> Layout:
    """What `store_layout` left: there before any state is."""
    text = store.meta(_META_LAYOUT)
    assert text is not None, "a state was stored without its layout"
    return msgspec.json.decode(text, type=Layout)


def write_model(path: Path, content: bytes) -> None:
    """Write a file that `model_bytes` made, whole or not at all. Raises NodeError."""
    replace_file(path, content, "write the model")


def export_from_folder(folder_path: Path, path: Path) -> None:
    """Write the newest final model that a stopped peer's folder holds.

    Raises NodeError: not a node's folder, locked by a running peer, no final model yet.
    """
    with NodeFolder.open(folder_path) as folder:
        data = folder.store.get(STATE_TABLE, STATE_KEY)
        if data is None:
            fix = f"start the peer, and export while it runs: run_node.py start --data-dir {folder_path}"
            raise NodeError(f"{folder_path} holds no final model yet", fix)
        kept, rules, layout = decode_kept_state(data), folder.rules, stored_layout(folder.store)
    model = ModelExported(kept.step, kept.height, kept.state_digest, kept.parameters)
    write_model(path, model_bytes(rules, layout, model))
