"""A learned model's file as its user's own module loads it: learned tensors under all of their names, and the kept ones.

No torch here: whoever exports a model has only this file, written once by who has loaded the task.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import safetensors

from learning.task import Float32Array, Layout

FRAME_KEY = "frame"
"""In the file's metadata: the JSON list of all tensors."""

DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
"""What a file calls a type, and what its writer does."""


class AdapterTensor(msgspec.Struct, frozen=True):
    """A kept weight (outputs, inputs) with a learned update: it stands for the weight + scale * up @ down."""

    down: str
    """The learned block of shape (rank, inputs)."""
    up: str
    """The learned block of shape (outputs, rank)."""
    scale: float
    beside: str = ""
    """The kept weight, as the adapted module calls it."""


class FrameTensor(msgspec.Struct, frozen=True):
    """One tensor of the user's module, by the name in its state_dict."""

    name: str
    block: str = ""
    """The learned block that it shows; empty: it is kept, and its bytes lie in the frame."""
    adapter: AdapterTensor | None = None
    """Of a kept weight: what is learned beside it."""


Frame = tuple[FrameTensor, ...]


def is_plain(frame: Frame, layout: Layout) -> bool:
    """Whether the layout alone says it all: every tensor is learned, and has one name."""
    return frame == tuple(FrameTensor(block.name, block.name) for block in layout)


def blocks_of(layout: Layout, parameters: Float32Array) -> Mapping[str, Float32Array]:
    """Views of the flat vector, by name. The sizes must fit."""
    assert sum(block.size for block in layout) == parameters.size, f"{parameters.size} parameters do not fit the layout"
    tensors, first = {}, 0
    for block in layout:
        tensors[block.name] = parameters[first : first + block.size].reshape(block.shape)
        first += block.size
    return tensors


def model_file(layout: Layout, parameters: Float32Array, metadata: Mapping[str, str], frame: bytes | None) -> bytes:
    """A safetensors file; without a frame it holds the layout's tensors. The frame is one that we wrote."""
    learned = blocks_of(layout, parameters)
    arrays: list[np.ndarray[Any, Any]] = []  # the writer takes addresses, so each must live until it is done
    tensors = {}

    def add(name: str, kind: str, shape: tuple[int, ...], content: np.ndarray[Any, Any]) -> None:
        arrays.append(content)
        tensors[name] = safetensors.TensorSpec(dtype=kind, shape=shape, data_ptr=content.ctypes.data, data_len=content.nbytes)

    if frame is None:
        names: Frame = tuple(FrameTensor(block.name, block.name) for block in layout)
        kept: dict[str, dict[str, Any]] = {}
    else:
        names, kept = _parse(frame)
    for tensor in names:
        if tensor.block:
            block = learned[tensor.block]
            add(tensor.name, "float32", block.shape, np.ascontiguousarray(block, dtype="<f4"))
        elif tensor.adapter is not None:
            merged = _merged(kept[tensor.name], tensor.adapter, learned)
            add(tensor.name, "float32", merged.shape, merged)
        else:
            part = kept[tensor.name]
            add(tensor.name, DTYPES[part["dtype"]], tuple(part["shape"]), np.frombuffer(part["data"], dtype=np.uint8))
    return safetensors.serialize(tensors, dict(metadata))


def _merged(kept: dict[str, Any], adapter: AdapterTensor, learned: Mapping[str, Float32Array]) -> Float32Array:
    """In float32, whatever the weight was kept in: an update is small beside it."""
    assert kept["dtype"] == "F32", f"adapter on a weight of type {kept['dtype']}"
    weight = np.frombuffer(kept["data"], dtype="<f4").reshape(kept["shape"])
    merged: Float32Array = weight + np.float32(adapter.scale) * (learned[adapter.up] @ learned[adapter.down])
    return np.ascontiguousarray(merged, dtype="<f4")


def _parse(frame: bytes) -> tuple[Frame, dict[str, dict[str, Any]]]:
    length = int.from_bytes(frame[:8], "little")
    header = json.loads(frame[8 : 8 + length])
    return msgspec.json.decode(header["__metadata__"][FRAME_KEY], type=Frame), dict(safetensors.deserialize(frame))  # type: ignore[no-untyped-call]
