"""Low-rank adapters: a large layer stays as it is, and the product of two thin matrices is learned beside it.

W becomes W + (alpha / r) B A, with A of shape (r, inputs) and B of shape (outputs, r), B starting at zero (LoRA, Hu et al.,
arXiv 2106.09685). It is a parametrisation of the weight, so whatever reads the layer's weight sees it, fused kernels too.
"""

import math
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn.utils import parametrize

from learning.models.frame import AdapterTensor
from learning.models.rules import ModelRules
from learning.task import TaskError


class LowRankUpdate(nn.Module):  # type: ignore[misc]  # torch has no types for it
    """Adds (alpha / r) B A to a weight (outputs, inputs)."""

    def __init__(self, weight: torch.Tensor, rank: int, scale: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.lora_A = nn.Parameter(torch.empty(rank, inputs))
        self.lora_B = nn.Parameter(torch.zeros(outputs, rank))
        self.scale = scale
        bound, generator = 1 / math.sqrt(inputs), torch.Generator().manual_seed(rank)
        nn.init.uniform_(self.lora_A, -bound, bound, generator)  # no constant, so that it starts from noise

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.scale * (self.lora_B @ self.lora_A)

    def extra_repr(self) -> str:
        """For the task's digest."""
        return f"rank={len(self.lora_A)}, scale={self.scale!r}"


def add_adapters(name: str, module: nn.Module, rules: ModelRules) -> dict[str, AdapterTensor]:
    """Freeze the module, in place, and adapt the weights of the layers that the rules name: by the weight's name before.

    Raises TaskError, which names the task: a pattern that meets no linear layer.
    """
    module.requires_grad_(False)
    layers = dict(module.named_modules())
    linear = [path for path, layer in layers.items() if type(layer) is nn.Linear]
    chosen = []
    for pattern in rules.adapters:
        met = [path for path in linear if fnmatchcase(path, pattern)]
        if not met:
            raise _no_layer(name, pattern, layers, linear)
        chosen += [path for path in met if path not in chosen]
    adapted = {}
    scale = rules.adapter_alpha / rules.adapter_rank
    shared = _shared_tensors(module)
    for path in chosen:
        layer = layers[path]
        if id(layer.weight) in shared:
            raise TaskError(
                f"task {name!r}: model.adapters names {path!r}, whose weight is also {shared[id(layer.weight)]!r}",
                "adapt other layers: a shared weight cannot be changed in one place",
            )
        layer.weight.data = layer.weight.data.float()  # it is exported with what is learned beside it
        update = LowRankUpdate(layer.weight, rules.adapter_rank, scale)
        parametrize.register_parametrization(layer, "weight", update, unsafe=True)
        first = f"{path}." if path else ""
        place = f"{first}parametrizations.weight"
        adapted[f"{first}weight"] = AdapterTensor(f"{place}.0.lora_A", f"{place}.0.lora_B", scale, f"{place}.original")
    return adapted


def _shared_tensors(module: nn.Module) -> dict[int, str]:
    """Those with several names, by their identity: the first of these."""
    names: dict[int, list[str]] = {}
    for path, tensor in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(tensor), []).append(path)
    return {tensor: paths[0] for tensor, paths in names.items() if len(paths) > 1}


def _no_layer(name: str, pattern: str, layers: dict[str, nn.Module], linear: list[str]) -> TaskError:
    others = [f"{path} ({type(layer).__name__})" for path, layer in layers.items() if fnmatchcase(path, pattern) and path]
    found = f"meets {', '.join(others[:3])}, which take no adapter" if others else "meets no layer"
    some = ", ".join(linear[:5]) + (", ..." if len(linear) > 5 else "")
    return TaskError(
        f"task {name!r}: model.adapters names {pattern!r}, which {found}",
        f"name linear layers; here are {some}" if linear else "this model has no linear layer: learn all of it instead",
    )
