"""The matrix of candidates, one flat parameter vector per row: memory for it, and where each tensor of a torch model lies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from learning.task import Float32Array, Layout, ParameterBlock

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
"""By the name that `torch.nn.Module.named_parameters` gives; a tensor that two layers share has one entry."""


def slices_of(model: torch.nn.Module) -> Slices:
    """The model's parameters in the order of `named_parameters`, one behind the other."""
    slices: dict[str, ParameterSlice] = {}
    first = 0
    for name, parameter in model.named_parameters():
        slices[name] = ParameterSlice(first, tuple(parameter.shape), _row_major(tuple(parameter.shape)))
        first += parameter.numel()
    return slices


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def layout_of(model: torch.nn.Module) -> Layout:
    """The same order, with the fan-in of each block: inputs of one output, prod(shape[1:]); 0 for a vector or a scalar.

    Weights thus start uniform in [-1/sqrt(fan_in), 1/sqrt(fan_in)), biases at zero.
    """
    blocks = []
    for name, parameter in model.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 0
        blocks.append(ParameterBlock(name, tuple(parameter.shape), fan_in))
    return tuple(blocks)
