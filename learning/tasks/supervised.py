"""Learn from labelled samples: any torch model, any loss per sample, and the gradient of its mean over a minibatch."""

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from learning.exact import permutation
from learning.models.candidates import FunctionalModel, evaluating, slices_of
from learning.models.description import described_array, described_model
from learning.models.evaluator import Evaluator, Loss, PreparedBatch
from learning.models.rules import ModelRules
from learning.models.trainable import Start, TrainableModel, trainable_model
from learning.task import Float32Array, Float64Array, Int64Array, Layout, Minibatch, TaskError


class ModelGradient:
    """Differentiates one model under one loss, in float32, by torch's autograd.

    The model runs in evaluation mode, as where its fitness is measured: dropout passes on what it gets, and batch normalisation
    keeps the statistics it came with, so the gradient belongs to the fitness that everybody else sees.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        """`loss` as in `learning.tasks.supervised.SupervisedTask`."""
        own = evaluating(model)
        self._model, self._slices = FunctionalModel(own), slices_of(own)
        self._loss = loss

    def of(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        """(parameters,) -> (parameters,); zeros for tensors that take no part in the loss.

        Raises TaskError when the loss does not give one value per sample.
        """
        tensors = self._tensors(parameters)
        leaves = list(tensors.values())
        loss = self._mean_loss(tensors, _float32(minibatch.inputs), _float32(minibatch.labels))
        gradient = np.zeros(len(parameters), dtype=np.float32)
        if not loss.requires_grad:
            return gradient
        for name, part in zip(tensors, torch.autograd.grad(loss, leaves, allow_unused=True), strict=True):
            if part is not None:
                first = self._slices[name].first
                gradient[first : first + part.numel()] = part.reshape(-1).numpy()
        return gradient

    def _tensors(self, parameters: Float32Array) -> dict[str, torch.Tensor]:
        """The vector cut into the model's tensors, each a leaf of its own: the gradient of one vector would be padded sums."""
        vector = torch.tensor(parameters)[None]
        return {name: part.of(vector)[0].requires_grad_() for name, part in self._slices.items()}

    def _mean_loss(self, tensors: dict[str, torch.Tensor], inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        outputs = self._model(tensors, inputs)
        if self._loss == "cross_entropy":
            return functional.cross_entropy(outputs.movedim(-1, 1), labels)
        losses = self._loss(outputs, labels)
        if losses.shape != (len(labels),):
            raise TaskError(f"loss has shape {tuple(losses.shape)}, expected ({len(labels)},): one value per sample")
        return losses.mean()


def _float32(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> torch.Tensor:
    """A copy, as the model takes it; integers (classes, tokens, pixels) as they are."""
    values = torch.tensor(array)
    return values.float() if values.is_floating_point() else values


BATCH_SAMPLES_MAX = 4_096
"""A larger training set is sampled anew by every parent: a generation then costs the same whatever the data's size, and the
chance of a subset, a sixty-fourth of one sample's spread, is below what a mutation changes."""

BATCHES_KEPT_MAX = 6
"""The head's batch and a prefix for the race, in float32 and float64, and those of a competing head."""

MODEL_DESCRIPTION_TAG = b"kubrat/supervised-task/1"

TORCH_ERRORS = (RuntimeError, TypeError, ValueError, IndexError)
"""What torch raises for shapes and types that do not fit, and for operations without a derivative."""

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs (samples, ...) and labels (samples, ...): integers for classes, floats where the loss takes them."""

    inputs: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)


class SupervisedTask:
    """Minus the mean loss of a torch model over training samples. Implements `learning.task.DifferentiableTask`."""

    def __init__(  # noqa: PLR0917 - one more than a name, a model, a loss and two sets of samples
        self, name: str, model: nn.Module, loss: Loss, train: Samples, test: Samples, start: Start | str = Start.NOISE
    ) -> None:
        """`loss`: "cross_entropy" (labels are classes 0, 1, ...), or a function of logits and labels, both (samples, ...), that
        gives one loss per sample. `start`: what the learned tensors start from, "noise" or "given".

        Raises TaskError when the data does not fit together, or the model does not run on it.
        """
        for part, samples in (("train", train), ("test", test)):
            if not len(samples) or len(samples.inputs) != len(samples.labels):
                found = f"{len(samples.inputs)} inputs and {len(samples.labels)} labels"
                raise TaskError(f"task {name!r}: {part} has {found}, expected as many of both, at least one")
        self.name = name
        self._given, self._loss, self._start = model, loss, _start(name, start)
        self._train, self._test = train, test
        self._train_inputs, self._train_labels = torch.tensor(train.inputs), _labels(train)
        self._test_labels = _labels(test)
        self._has_classes = loss == "cross_entropy"
        self._set_up(trainable_model(name, model, self._start))

    def _set_up(self, own: TrainableModel) -> None:
        """Raises TaskError when the model does not run on the data."""
        self._own = own
        self.layout: Layout = own.layout
        self.data_digest = data_digest(own, self._loss, self._train, self._test)
        self._model_gradient = ModelGradient(own.module, self._loss)
        try:
            self._evaluator = Evaluator(own.module, self._loss, self._train_inputs)
        except TORCH_ERRORS as error:
            raise TaskError(f"task {self.name!r}: the model does not run on its data: {error}") from error
        if self._has_classes:
            self._check_classes()
        self._test_fast = self._evaluator.prepare(torch.tensor(self._test.inputs), self._test_labels, is_exact=False)
        self._prepared: OrderedDict[tuple[bool, bytes], PreparedBatch] = OrderedDict()

    def with_model_rules(self, rules: ModelRules, folders: tuple[Path, ...]) -> Self:
        """The same task with another start, or other parts that learn. `folders`: where weights are looked for.

        Raises TaskError: weights or patterns that do not fit.
        """
        other = copy.copy(self)
        other._set_up(trainable_model(self.name, self._given, self._start, rules, folders))
        return other

    def frame(self) -> bytes | None:
        """What an export needs beside the layout, so that the file loads into the model as it was given."""
        return self._own.frame()

    def draw_batch(self, seed: bytes) -> Int64Array:
        """All training samples in the order that `seed` selects, or 4,096 of them where there are more."""
        return permutation(seed, len(self._train_labels))[:BATCH_SAMPLES_MAX]

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Fast fitness in float32, (count, parameters) -> (count,); minus infinity where the loss is no number."""
        return self._evaluator.scores(candidates, self._gather(batch, is_exact=False))

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Fitness in float64 on the canonical path; minus infinity where the loss is no number."""
        return self._evaluator.fitness(parameters, self._gather(batch, is_exact=True))

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """`test_loss`, and `test_accuracy` (a share, 0..1) where the loss is cross-entropy."""
        loss = -float(self._evaluator.scores(parameters[None], self._test_fast)[0])
        if not self._has_classes:
            return {"test_loss": loss}
        predicted = self._evaluator.logits(parameters, self._test_fast).argmax(-1)
        return {"test_accuracy": float((predicted == self._test_labels).double().mean()), "test_loss": loss}

    @property
    def sample_labels(self) -> Int64Array:
        """The class of each training sample, (samples,); zeros without cross-entropy, or where a sample has many."""
        if self._has_classes and self._train_labels.ndim == 1:
            labels: Int64Array = self._train_labels.numpy().copy()
            return labels
        return np.zeros(len(self._train_labels), dtype=np.int64)

    def minibatch(self, rows: Int64Array) -> Minibatch:
        """Copies of the training samples at these indices."""
        chosen = torch.tensor(rows)
        return Minibatch(self._train_inputs[chosen].numpy(), self._train_labels[chosen].numpy())

    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        """Of the mean loss in float32, (parameters,) -> (parameters,); NaN or infinities where the loss is no number.

        Raises TaskError when the model or the loss cannot be differentiated on these samples.
        """
        try:
            return self._model_gradient.of(parameters, minibatch)
        except TORCH_ERRORS as error:
            raise TaskError(f"task {self.name!r}: its loss cannot be differentiated: {error}") from error

    def _check_classes(self) -> None:
        for part, labels in (("train", self._train_labels), ("test", self._test_labels)):
            lowest, highest = labels.min().item(), labels.max().item()
            if labels.is_floating_point() or lowest < 0 or highest >= self._evaluator.outputs:
                allowed = f"integers 0..{self._evaluator.outputs - 1}, one per output of the model"
                raise TaskError(f"task {self.name!r}: {part} labels are {labels.dtype} {lowest}..{highest}, expected {allowed}")

    def _gather(self, batch: Int64Array, *, is_exact: bool) -> PreparedBatch:
        key = (is_exact, batch.tobytes())
        prepared = self._prepared.get(key)
        if prepared is None:
            rows = torch.tensor(batch)
            prepared = self._evaluator.prepare(self._train_inputs[rows], self._train_labels[rows], is_exact=is_exact)
            self._prepared[key] = prepared
            if len(self._prepared) > BATCHES_KEPT_MAX:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return prepared


def _labels(samples: Samples) -> torch.Tensor:
    labels = torch.tensor(samples.labels)
    return labels if labels.is_floating_point() else labels.long()  # the only integers that torch takes as classes


def _start(name: str, start: str) -> Start:
    try:
        return Start(start)
    except ValueError as error:
        raise TaskError(f"task {name!r}: start is {start!r}", f"allowed: {', '.join(Start)}") from error


def data_digest(model: TrainableModel, loss: Loss, train: Samples, test: Samples) -> bytes:
    """BLAKE2b-256 over the samples byte for byte, the split, the model's layers and what of it is kept, and the loss's name.

    The code of a user's own layer or loss is not covered: give it another name when it changes.
    """
    hasher = hashlib.blake2b(digest_size=32)
    parts = [MODEL_DESCRIPTION_TAG, *described_model(model.module, model.layout), _described_loss(loss)]
    for array in (train.inputs, train.labels, test.inputs, test.labels):
        parts += described_array(np.asarray(array))
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.digest()


def _described_loss(loss: Loss) -> bytes:
    if isinstance(loss, str):
        return loss.encode()
    if isinstance(loss, nn.Module):
        return b"\n".join(described_model(loss, ()))
    return str(getattr(loss, "__qualname__", type(loss).__qualname__)).encode()
