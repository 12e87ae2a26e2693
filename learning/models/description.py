"""What of a model goes into its task's data digest: the layers by name and settings, and all numbers that are not learned."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from learning.task import Layout

Array = npt.NDArray[np.generic]


def described_model(model: nn.Module, layout: Layout) -> list[bytes]:
    """In parts, to be hashed with their lengths. `layout`: of the learned tensors, with what they start from."""
    parts = [f"{name} {type(layer).__qualname__} {layer.extra_repr()}".encode() for name, layer in model.named_modules()]
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
