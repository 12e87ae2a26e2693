"""The matrix of candidates, one flat parameter vector per row: memory for it, and where each tensor of a torch model lies."""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch.func import functional_call

from learning.task import Float32Array

ROW_PARAMETERS = 256
"""Rows start at multiples of this: on cache lines (a twentieth faster), and a whole block of noise fits behind the last."""

CANDIDATE_BYTES = 6 * 2**20
"""Candidates to make and measure at a time: more than a core's own cache holds for the next chunk's sake costs a tenth."""

CANDIDATES_AT_ONCE = (4, 64)
"""Fewer spend more time on calls than on products; more bring nothing."""


def candidate_rows(count: int, parameters: int) -> Float32Array:
    """Uninitialised memory for `count` candidates, shape (count, parameters); rows are aligned, hence not contiguous."""
    padded = -(-parameters // ROW_PARAMETERS) * ROW_PARAMETERS
    rows: Float32Array = torch.empty((count, padded), dtype=torch.float32).numpy()
    return rows[:, :parameters]


def candidates_at_once(parameters: int) -> int:
    """How many candidates to make before measuring them, so that they are still near the processor."""
    fewest, most = CANDIDATES_AT_ONCE
    return min(max(CANDIDATE_BYTES // (4 * parameters), fewest), most)


@dataclass(frozen=True, slots=True)
class ParameterSlice:
    """Columns from `first` on of a (count, parameters) matrix of candidates hold a tensor of this shape, row-major."""

    first: int
    shape: tuple[int, ...]

    strides: tuple[int, ...]

    def of(self, candidates: torch.Tensor) -> torch.Tensor:
        """A view of shape (count, *shape); nothing is copied. The rows of `candidates` are contiguous, whatever their distance.

        One operation: slicing and reshaping takes three, which shows where matrices are small.
        """
        sizes = (candidates.shape[0], *self.shape)
        return candidates.as_strided(sizes, (candidates.stride(0), *self.strides), candidates.storage_offset() + self.first)

    def column_of(self, candidates: torch.Tensor) -> torch.Tensor:
        """A vector as columns: a view of shape (count, length, 1)."""
        sizes = (candidates.shape[0], *self.shape, 1)
        return candidates.as_strided(sizes, (candidates.stride(0), 1, 1), candidates.storage_offset() + self.first)


Slices = Mapping[str, ParameterSlice]
"""Of the learned tensors, by the name that `torch.nn.Module.named_parameters` gives; one that layers share has one entry."""


def learned_parameters(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Those with `requires_grad`, each once, under its first name."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def evaluating(model: torch.nn.Module) -> torch.nn.Module:
    """The model in float32 and in evaluation mode: itself where it is that already, else a copy."""
    tensors = (*model.parameters(), *model.buffers())
    is_float32 = all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point())
    if is_float32 and not any(layer.training for layer in model.modules()):
        return model
    return copy.deepcopy(model).float().eval()


class FunctionalModel:
    """A module with other tensors in the place of its learned ones. The module stays as it is.

    torch's `functional_call` finds shared tensors by itself, but where two places hold one and the same layer it does not put
    the old tensors back. So here every place is named, each layer once.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        first_names = {id(parameter): name for name, parameter in learned_parameters(model)}
        self._places = tuple(
            (f"{path}.{name}" if path else name, first_names[id(parameter)])
            for path, layer in model.named_modules()
            for name, parameter in layer.named_parameters(recurse=False, remove_duplicate=False)
            if id(parameter) in first_names
        )

    def __call__(self, tensors: Mapping[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        """The module's output. `tensors`: one for each learned parameter, by its first name."""
        placed = {place: tensors[name] for place, name in self._places}
        outputs: torch.Tensor = functional_call(self._model, placed, (inputs,), tie_weights=False)
        return outputs


def slices_of(model: torch.nn.Module) -> Slices:
    """The model's learned parameters in the order of `named_parameters`, one behind the other; frozen ones are in no vector."""
    slices: dict[str, ParameterSlice] = {}
    first = 0
    for name, parameter in learned_parameters(model):
        slices[name] = ParameterSlice(first, tuple(parameter.shape), _row_major(tuple(parameter.shape)))
        first += parameter.numel()
    return slices


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
