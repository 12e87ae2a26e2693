"""Measure many candidates on one batch, fast in float32 for the search, or one of them in float64 for a claim.

A chunk of candidates and a piece of the batch are taken at a time, so small that activations stay in a core's own cache
and memory does not grow with the number of candidates. Threads are the process's matter: one per process is fastest.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional

from learning.exact import tree_sum
from learning.models.batched import CompiledSequential, compile_model
from learning.models.candidates import FunctionalModel, Slices, evaluating, learned_parameters, slices_of
from learning.task import Float32Array, Float64Array, TaskError


@dataclass(frozen=True, slots=True)
class VmappedModule:
    """One call of `torch.func.vmap` for the whole chunk; a model with control flow that depends on values cannot run so."""

    model: FunctionalModel
    slices: Slices

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (samples, ...) as the model takes them."""
        return inputs

    def logits(self, candidates: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        """Outputs of every candidate (count, parameters) for every sample: (count, samples, ...)."""
        tensors = {name: part.of(candidates) for name, part in self.slices.items()}
        return vmap(lambda own: self.model(own, prepared))(tensors)


@dataclass(frozen=True, slots=True)
class LoopedModule:
    """One candidate after another: the slowest way, and the one that always works."""

    model: FunctionalModel
    slices: Slices

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (samples, ...) as the model takes them."""
        return inputs

    def logits(self, candidates: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        """Outputs of every candidate (count, parameters) for every sample: (count, samples, ...)."""
        return torch.stack([self._logits_of(candidates[index : index + 1], prepared) for index in range(len(candidates))])

    def _logits_of(self, candidate: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        tensors = {name: part.of(candidate)[0] for name, part in self.slices.items()}
        return self.model(tensors, prepared)


LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(logits (samples, ...), labels (samples, ...)) -> loss of each sample (samples,)."""

Loss = Literal["cross_entropy"] | LossFunction

ACTIVATION_BYTES_MAX = 2 * 2**20
"""Of one layer's input and output in flight: what a core's own cache holds. Twice this is a tenth slower on digits-large."""

PIECES_PER_CACHEFUL = 8
"""A piece of the batch takes at most this part of the cache, so that at least as many candidates share each call."""

PIECE_SAMPLES_MIN = 64
"""Shorter matrices spend more on the call than on the product."""

GENERAL_ACTIVATION_BYTES_MAX = 16 * 2**20
"""For models that are not compiled: a call costs a hundred microseconds, so chunks are larger, up to a quarter of the limit
of 64 MiB that one evaluation may take beside the model (an operation has a few such tensors at once)."""

TRIAL_SAMPLES = 4
"""A compiled model is compared with the real one on this many, with every parameter tried."""

TRIAL_TOLERANCE = 1e-4
"""Relative and absolute: float32 sums in another order differ by a hundredth of this, a wrong layer by ten thousand times."""


class ForwardPass(Protocol):
    """How a model runs for a chunk of candidates."""

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (samples, ...) in the form that `logits` takes."""
        ...

    def logits(self, candidates: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        """Outputs (count, samples, ...) for candidates (count, parameters)."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Some samples of a batch. `inputs`: as the forward pass takes them; `classes`: 1 at [label, sample], or None."""

    inputs: torch.Tensor
    labels: torch.Tensor
    classes: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """One batch, cut into pieces, in the form that one evaluator takes. `is_exact`: in float64, for claims."""

    pieces: tuple[Piece, ...]
    samples: int
    is_exact: bool


class Evaluator:
    """Measures candidates of one model under one loss. Higher is better: minus the mean loss over the batch."""

    def __init__(self, model: nn.Module, loss: Loss, example: torch.Tensor) -> None:
        """`example`: a few samples, shape (samples, ...). Raises TaskError when the model cannot run on them."""
        self._loss = loss
        self._slices = slices_of(model)
        self._model = evaluating(model)
        with torch.no_grad():
            trial = _floating(example[:TRIAL_SAMPLES], torch.float32)
            self._bytes_per_sample = 4 * _widest_layer(self._model, trial[:1])
            self._forward = self._fastest_forward(trial)
            self._outputs = int(self._model(trial).shape[-1])
        self._is_compiled = not isinstance(self._forward, VmappedModule | LoopedModule)
        self._trial = trial[:1]

    @property
    def method(self) -> str:
        """How candidates are run: the name of the class."""
        return type(self._forward).__name__

    @property
    def outputs(self) -> int:
        """Length of the last axis of what the model gives: the classes."""
        return self._outputs

    def prepare(self, inputs: torch.Tensor, labels: torch.Tensor, *, is_exact: bool) -> PreparedBatch:
        """Cut (samples, ...) into pieces, for `fitness` (`is_exact`) or for `scores` and `logits`."""
        forward = self._forward_exact if is_exact else self._forward
        values = _floating(inputs, torch.float64 if is_exact else torch.float32)
        if is_exact and labels.is_floating_point():
            labels = labels.double()
        size = self._piece_samples()
        pieces = [
            Piece(forward.prepare(part), own, None if is_exact else self._classes(own))
            for part, own in zip(values.split(size), labels.split(size), strict=True)
        ]
        return PreparedBatch(tuple(pieces), len(inputs), is_exact)

    def scores(self, candidates: Float32Array, batch: PreparedBatch) -> Float64Array:
        """Fitness of each candidate, (count, parameters) -> (count,), in float32; minus infinity where it is no number."""
        assert not batch.is_exact, "scores are measured in float32"
        with torch.inference_mode():
            chunks = _tensor(candidates).split(self._chunk_candidates(len(batch.pieces[0].labels)))
            totals = torch.cat([self._total_losses(chunk, batch) for chunk in chunks])
        fitness: Float64Array = totals.numpy() / -batch.samples
        fitness[~np.isfinite(fitness)] = -np.inf
        return fitness

    def fitness(self, parameters: Float32Array, batch: PreparedBatch) -> float:
        """Fitness of one candidate (parameters,) on the canonical path; minus infinity where it is no number.

        Everything is float64, one candidate at a time; the losses are summed by `tree_sum` in the order of the batch.
        """
        assert batch.is_exact, "claims are measured in float64"
        with torch.inference_mode():
            candidate = _tensor(parameters)[None].double()
            losses = [self._losses(self._forward_exact, candidate, piece)[0] for piece in batch.pieces]
            total = tree_sum(torch.cat(losses).numpy())
        return -total / batch.samples if math.isfinite(total) else -math.inf

    def logits(self, parameters: Float32Array, batch: PreparedBatch) -> torch.Tensor:
        """The model's outputs (samples, ...) in float32 for one parameter vector."""
        with torch.inference_mode():
            candidate = _tensor(parameters)[None]
            return torch.cat([self._forward.logits(candidate, piece.inputs)[0] for piece in batch.pieces])

    def _total_losses(self, chunk: torch.Tensor, batch: PreparedBatch) -> torch.Tensor:
        """Sum over the samples for each candidate, (count,) in float64."""
        totals = torch.zeros(len(chunk), dtype=torch.float64)
        for piece in batch.pieces:
            if piece.classes is None:
                totals += self._losses(self._forward, chunk, piece).sum(1)
            else:
                totals -= _log_likelihoods(self._forward.logits(chunk, piece.inputs), piece.classes)
        return totals

    def _losses(self, forward: ForwardPass, candidates: torch.Tensor, piece: Piece) -> torch.Tensor:
        """Shape (count, samples)."""
        logits, labels, count = forward.logits(candidates, piece.inputs), piece.labels, len(candidates)
        if self._loss == "cross_entropy":
            losses = functional.cross_entropy(logits.movedim(-1, 1), labels.expand(count, *labels.shape), reduction="none")
            return losses if losses.ndim == 2 else losses.flatten(2).mean(2)
        losses = self._loss(logits.flatten(0, 1), labels.repeat(count, *[1] * (labels.ndim - 1)))
        if losses.shape != (count * len(labels),):
            raise TaskError(f"loss has shape {tuple(losses.shape)}, expected ({count * len(labels)},): one value per sample")
        return losses.view(count, -1)

    def _classes(self, labels: torch.Tensor) -> torch.Tensor | None:
        if self._loss != "cross_entropy" or labels.ndim != 1:
            return None
        return functional.one_hot(labels, self._outputs).T.float().contiguous()

    @cached_property
    def _forward_exact(self) -> ForwardPass:
        """The same in float64, made when a claim is first measured: twice the model's memory, which not everybody needs."""
        if isinstance(self._forward, CompiledSequential) and self._forward.encoder is None:
            return self._forward
        exact = copy.deepcopy(self._model).double()
        compiled = compile_model(exact, _floating(self._trial, torch.float64)) if self._is_compiled else None
        return compiled or LoopedModule(FunctionalModel(exact), self._slices)

    def _piece_samples(self) -> int:
        if self._is_compiled:
            return max(PIECE_SAMPLES_MIN, ACTIVATION_BYTES_MAX // PIECES_PER_CACHEFUL // self._bytes_per_sample)
        return max(1, GENERAL_ACTIVATION_BYTES_MAX // self._bytes_per_sample)

    def _chunk_candidates(self, piece: int) -> int:
        limit = ACTIVATION_BYTES_MAX if self._is_compiled else GENERAL_ACTIVATION_BYTES_MAX
        return max(1, limit // (self._bytes_per_sample * piece))

    def _fastest_forward(self, trial: torch.Tensor) -> ForwardPass:
        compiled = compile_model(self._model, trial)
        if compiled is not None and self._agrees(compiled, trial):
            return compiled
        model = FunctionalModel(self._model)
        vmapped, looped = VmappedModule(model, self._slices), LoopedModule(model, self._slices)
        try:
            return vmapped if self._agrees(vmapped, trial) else looped
        except RuntimeError:  # what torch raises for an operation that vmap does not know; the loop does without it
            return looped

    def _agrees(self, forward: ForwardPass, trial: torch.Tensor) -> bool:
        """Whether two different candidates, the model's own weights and half of them, give what the model gives."""
        own = torch.cat([parameter.detach().flatten() for _, parameter in learned_parameters(self._model)])
        candidates = torch.stack([own, own / 2])
        expected = LoopedModule(FunctionalModel(self._model), self._slices).logits(candidates, trial)
        found = forward.logits(candidates, forward.prepare(trial))
        if found.shape != expected.shape:
            return False
        return bool(torch.allclose(found, expected, TRIAL_TOLERANCE, TRIAL_TOLERANCE))


def _log_likelihoods(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Sum over the samples of the label's log-probability, (count, samples, outputs) -> (count,).

    One product with the indicator of the labels: picking and adding them takes twice as long.
    """
    return torch.log_softmax(logits.transpose(1, 2), 1).flatten(1) @ classes.flatten()


def _floating(values: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """Numbers in the precision asked for; integers (tokens, say) as they are."""
    return values.to(kind) if values.is_floating_point() else values


def _tensor(array: Float32Array) -> torch.Tensor:
    """A view where torch may take one; it refuses arrays that cannot be written."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _widest_layer(model: nn.Module, sample: torch.Tensor) -> int:
    """Numbers in the input and the output of the model's largest layer, for one sample (1, ...)."""
    widths = [1]

    def note(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        widths.append(sum(part.numel() for part in (*inputs, output) if isinstance(part, torch.Tensor)))

    hooks = [layer.register_forward_hook(note) for layer in model.modules()]
    model(sample)
    for hook in hooks:
        hook.remove()
    return max(widths)
