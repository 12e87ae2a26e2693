"""What of a model goes into its task's data digest: the layers by name and settings, and all numbers that are not learned."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from learning.task import Layout

Array = npt.NDArray[np.generic]


PLAIN = (bool, int, float, str)
"""Kinds of settings."""


def described_model(model: nn.Module, layout: Layout) -> list[bytes]:
    """In parts, to be hashed with their lengths. `layout`: of the learned tensors, with what they start from."""
    parts = [f"{name} {type(layer).__qualname__} {_settings(layer)}".encode() for name, layer in model.named_modules()]
    for block in layout:
        constant = f" {block.constant!r}" if block.constant else ""
        parts.append(f"{block.name} {block.shape} {block.fan_in}{constant}".encode())
        if block.given is not None:
            parts += described_array(block.given)
    learned = {block.name for block in layout}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if name not in learned:
            parts += [name.encode(), *_described_tensor(tensor)]
    return parts


def _settings(layer: nn.Module) -> str:
    """What the layer says of itself; where a layer of torch with parts or parameters says nothing, its plain attributes."""
    shown: str = layer.extra_repr()
    has_parts = any(True for part in (layer.children(), layer.parameters(recurse=False)) for _ in part)
    is_silent = not shown and type(layer).__module__.startswith("torch.nn")
    if not is_silent or not has_parts:
        return shown
    values = ((name, getattr(value, "__qualname__", value)) for name, value in sorted(vars(layer).items()))
    plain = (f"{name}={value!r}" for name, value in values if name[0] != "_" and isinstance(value, PLAIN))
    return ", ".join(text for text in plain if not text.startswith("training="))


def _described_tensor(tensor: torch.Tensor) -> list[bytes]:
    values = tensor.detach().cpu().contiguous()
    try:
        return described_array(values.numpy())
    except TypeError:  # a type that numpy lacks
        return [f"{values.dtype} {tuple(values.shape)}".encode(), values.reshape(-1).view(torch.uint8).numpy().tobytes()]


def described_array(array: Array) -> list[bytes]:
    """Type and shape, and the bytes, little-endian."""
    little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return [f"{little_endian.dtype.str} {array.shape}".encode(), little_endian.tobytes()]
