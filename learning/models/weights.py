"""Weights to start from, out of a safetensors file that fits tensor for tensor."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from learning.models.rules import ModelRules
from learning.models.weights_file import found_weights
from learning.task import TaskError

NAMED_MAX = 3
"""Of the tensors that do not fit: the first ones tell what is wrong."""


def load_weights(name: str, module: nn.Module, rules: ModelRules, folders: tuple[Path, ...]) -> None:
    """Put the file's numbers into the module, in place.

    Raises TaskError, which names the task: no such file, another one, no safetensors file, tensors that are missing, too many,
    of another shape or type.
    """
    path = found_weights(name, rules, folders)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise TaskError(
            f"task {name!r}: {path} is no safetensors file: {error}",
            "save it with safetensors.torch.save_file(model.state_dict(), ...); pickles run code, and are not read",
        ) from error
    _fill(name, path, module, tensors)


def _fill(name: str, path: Path, module: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    own = module.state_dict(keep_vars=True)
    places = {key: tensor for key, tensor in own.items() if isinstance(tensor, torch.Tensor)}
    told = {id(places[key]) for key in tensors if key in places}  # a tensor that is shared needs to be there once
    missing = [key for key, tensor in places.items() if key not in tensors and id(tensor) not in told]
    faults = [f"has no {key}" for key in missing]
    faults += [f"has {key}, which the model lacks" for key in tensors if key not in places]
    faults += list(_misfits(places, tensors))
    if faults:
        more = f", and {len(faults) - NAMED_MAX} more" if len(faults) > NAMED_MAX else ""
        raise TaskError(
            f"task {name!r}: {path.name} does not fit the model: it {'; it '.join(faults[:NAMED_MAX])}{more}",
            "save it from this very model: safetensors.torch.save_model(model, ...)",
        )
    with torch.no_grad():
        for key, tensor in tensors.items():
            places[key].copy_(tensor)


def _misfits(places: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor]) -> Iterator[str]:
    for key, tensor in tensors.items():
        if key in places and places[key].shape != tensor.shape:
            yield f"has {key} of shape {tuple(tensor.shape)}, the model's is {tuple(places[key].shape)}"
        elif key in places and places[key].is_floating_point() != tensor.is_floating_point():
            yield f"has {key} of type {_type(tensor)}, the model's is {_type(places[key])}"
        elif tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            yield f"has {key} with numbers that are not finite"


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
