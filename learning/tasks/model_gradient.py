"""The gradient of any torch model's mean loss over a minibatch, as one flat vector."""

import copy

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from learning.models.candidates import slices_of
from learning.models.evaluator import Loss
from learning.task import Float32Array, Minibatch, TaskError


class ModelGradient:
    """Differentiates one model under one loss, in float32, by torch's autograd.

    The model runs in evaluation mode, as where its fitness is measured: dropout passes on what it gets, and batch normalisation
    keeps the statistics it came with, so the gradient belongs to the fitness that everybody else sees.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        """`loss` as in `learning.tasks.supervised.SupervisedTask`."""
        self._model = copy.deepcopy(model).float().eval()
        self._loss = loss
        self._slices = slices_of(self._model)
        self._learned = [name for name, parameter in self._model.named_parameters() if parameter.requires_grad]

    def of(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        """(parameters,) -> (parameters,); zeros for tensors that are frozen or take no part in the loss.

        Raises TaskError when the loss does not give one value per sample.
        """
        tensors = self._tensors(parameters)
        leaves = [tensors[name] for name in self._learned]
        loss = self._mean_loss(tensors, _float32(minibatch.inputs), _float32(minibatch.labels))
        gradient = np.zeros(len(parameters), dtype=np.float32)
        if not (leaves and loss.requires_grad):
            return gradient
        for name, part in zip(self._learned, torch.autograd.grad(loss, leaves, allow_unused=True), strict=True):
            if part is not None:
                first = self._slices[name].first
                gradient[first : first + part.numel()] = part.reshape(-1).numpy()
        return gradient

    def _tensors(self, parameters: Float32Array) -> dict[str, torch.Tensor]:
        """The vector cut into the model's tensors, each a leaf of its own: the gradient of one vector would be padded sums."""
        vector = torch.tensor(parameters)[None]
        tensors = {name: part.of(vector)[0] for name, part in self._slices.items()}
        for name in self._learned:
            tensors[name].requires_grad_()
        return tensors

    def _mean_loss(self, tensors: dict[str, torch.Tensor], inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        outputs = functional_call(self._model, tensors, (inputs,))
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
