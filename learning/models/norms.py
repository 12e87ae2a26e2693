"""Normalisation for a chunk of candidates: in evaluation mode either scales and offsets, or a sample's own mean and spread."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from learning.models.candidates import ParameterSlice

BATCH_NORMS = frozenset({nn.BatchNorm1d, nn.BatchNorm2d})
"""With kept statistics they are affine: y = (x - mean) / sqrt(variance + eps) * weight + bias, channel by channel."""

INSTANCE_NORMS = frozenset({nn.InstanceNorm1d, nn.InstanceNorm2d})
"""Without kept statistics each channel is a group of its own."""

COLUMN_NORMS = frozenset({nn.LayerNorm, nn.RMSNorm})


@dataclass(frozen=True, slots=True)
class AffineStep:
    """Columns -> columns, or images -> images, channel by channel, with statistics that are kept."""

    weight: ParameterSlice | None
    bias: ParameterSlice | None
    mean: torch.Tensor
    spread: torch.Tensor
    """sqrt(variance + eps)."""
    are_columns: bool

    def __call__(self, candidates: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        mean, spread = self.mean.to(candidates.dtype), self.spread.to(candidates.dtype)
        scale = (1 / spread)[None] if self.weight is None else self.weight.of(candidates) / spread
        offset = -mean * scale
        if self.bias is not None:
            offset = offset + self.bias.of(candidates)
        if self.are_columns:
            return torch.addcmul(offset[..., None], values, scale[..., None])
        ones = [1] * (values.ndim - 2)
        count = values.shape[1] // len(mean)
        scale, offset = (part.expand(count, -1).reshape(1, -1, *ones) for part in (scale, offset))
        return torch.addcmul(offset, values, scale)


@dataclass(frozen=True, slots=True)
class ColumnNormStep:
    """Columns -> columns: LayerNorm and RMSNorm over one sample's features."""

    weight: ParameterSlice | None
    bias: ParameterSlice | None
    eps: float | None
    """None: the smallest step of the numbers' own type, as torch has it."""
    is_centred: bool

    def __call__(self, candidates: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        if self.is_centred:
            variance, mean = torch.var_mean(values, 1, correction=0, keepdim=True)
            values = values - mean
        else:
            variance = values.square().mean(1, keepdim=True)
        eps = torch.finfo(values.dtype).eps if self.eps is None else self.eps
        values = values * torch.rsqrt(variance + eps)
        if self.weight is not None:
            values = values * self.weight.column_of(candidates)
        return values if self.bias is None else values + self.bias.column_of(candidates)


@dataclass(frozen=True, slots=True)
class GroupNormStep:
    """Images -> images: the candidates' channels lie side by side, so their groups do, too."""

    weight: ParameterSlice | None
    bias: ParameterSlice | None
    groups: int
    channels: int
    eps: float

    def __call__(self, candidates: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        count = values.shape[1] // self.channels
        weight = None if self.weight is None else self.weight.of(candidates).flatten()
        bias = None if self.bias is None else self.bias.of(candidates).flatten()
        return functional.group_norm(values, count * self.groups, weight, bias, self.eps)


NormStep = AffineStep | ColumnNormStep | GroupNormStep


def norm_step(
    layer: nn.Module, shape: tuple[int, ...], weight: ParameterSlice | None, bias: ParameterSlice | None
) -> NormStep | None:
    """The step of a normalising layer for samples of this shape, or None where it is none, or of a kind that is not known."""
    kind, axes = type(layer), len(shape)
    if kind in BATCH_NORMS and layer.running_mean is not None and 1 <= axes <= 3:
        spread = torch.sqrt(layer.running_var.double() + layer.eps)
        return AffineStep(weight, bias, layer.running_mean.double(), spread, are_columns=axes == 1)
    if kind in INSTANCE_NORMS and layer.running_mean is None and axes > 1:
        return GroupNormStep(weight, bias, shape[0], shape[0], layer.eps)
    if kind is nn.GroupNorm and axes > 1:
        return GroupNormStep(weight, bias, layer.num_groups, layer.num_channels, layer.eps)
    if kind in COLUMN_NORMS and axes == 1 and tuple(layer.normalized_shape) == shape:
        return ColumnNormStep(weight, bias, layer.eps, is_centred=kind is nn.LayerNorm)
    return None
