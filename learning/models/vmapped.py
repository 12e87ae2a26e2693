"""Any torch model on a chunk of candidates: by vmap where its operations allow, else one candidate after another."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call, vmap

from learning.models.candidates import Slices


@dataclass(frozen=True, slots=True)
class VmappedModule:
    """One call of `torch.func.vmap` for the whole chunk; a model with control flow that depends on values cannot run so."""

    model: nn.Module
    slices: Slices

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (samples, ...) as the model takes them."""
        return inputs

    def logits(self, candidates: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        """Outputs of every candidate (count, parameters) for every sample: (count, samples, ...)."""
        tensors = {name: part.of(candidates) for name, part in self.slices.items()}
        return vmap(lambda own: functional_call(self.model, own, (prepared,)))(tensors)


@dataclass(frozen=True, slots=True)
class LoopedModule:
    """One candidate after another: the slowest way, and the one that always works."""

    model: nn.Module
    slices: Slices

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (samples, ...) as the model takes them."""
        return inputs

    def logits(self, candidates: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        """Outputs of every candidate (count, parameters) for every sample: (count, samples, ...)."""
        return torch.stack([self._logits_of(candidates[index : index + 1], prepared) for index in range(len(candidates))])

    def _logits_of(self, candidate: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        tensors = {name: part.of(candidate)[0] for name, part in self.slices.items()}
        return functional_call(self.model, tensors, (prepared,))
