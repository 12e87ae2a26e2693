"""Batched scores are what torch gives for one candidate after another, whatever the model is made of."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from learning.models.candidates import FunctionalModel, candidate_rows, candidates_at_once, learned_parameters, slices_of
from learning.models.evaluator import Evaluator, Loss
from learning.models.trainable import trainable_model
from learning.task import Float32Array, Float64Array, ParameterBlock, TaskError

CLASSES = 5
CANDIDATES = 7
SAMPLES = 33


class Residual(nn.Module):
    """No Sequential, so nothing that is compiled; vmap takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(12, 12)
        self.outer = nn.Linear(12, CLASSES)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.outer(inputs + torch.sin(self.inner(inputs)))


class Deciding(nn.Module):
    """Its control flow depends on a value, which vmap cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, CLASSES)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.layer(inputs)
        return -outputs if outputs.mean().item() > 0 else outputs


class Doubling(nn.Linear):
    """A subclass with its own forward must not be taken for its parent."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(inputs)


class Shared(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(12, 12), nn.Linear(12, 12)
        self.up.weight = self.down.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.up(self.down(inputs).tanh())


def tied() -> nn.Sequential:
    layer = nn.Linear(12, 12)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(12, CLASSES))


def hooked() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(12, CLASSES))
    model[0].register_forward_hook(lambda _layer, _inputs, outputs: outputs * 3)
    return model


def trained(*layers: nn.Module) -> nn.Sequential:
    """With statistics and scales as if it had learned before, and a last layer that fits."""
    model = nn.Sequential(*layers, nn.LazyLinear(CLASSES))
    shapes = {nn.BatchNorm2d: (9, 2, 4, 4), nn.Conv2d: (9, 2, 8, 8), nn.Conv1d: (9, 3, 12)}
    generator = torch.Generator().manual_seed(2)
    sample = torch.rand(shapes.get(type(layers[0]), (9, 12)), generator=generator)
    for layer in model.train():
        if isinstance(layer, nn.BatchNorm2d) and layer is model[0]:
            layer.running_mean.uniform_(-1, 1, generator=generator)
    model(sample)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def frozen_encoder() -> nn.Sequential:
    encoder = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(144, 8))
    return nn.Sequential(
        encoder.requires_grad_(False), nn.LayerNorm(8, elementwise_affine=False), nn.Tanh(), nn.Linear(8, CLASSES)
    )


def frozen_in_the_middle() -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 8).requires_grad_(False), nn.Tanh(), nn.Linear(8, CLASSES))


def frozen_bias() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, CLASSES))
    model[2].bias.requires_grad_(False)
    return model


MODELS: dict[str, tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": ("CompiledSequential", lambda: nn.Linear(12, CLASSES), (12,)),
    "without bias": (
        "CompiledSequential",
        lambda: nn.Sequential(nn.Linear(12, 9, bias=False), nn.ReLU(), nn.Linear(9, CLASSES)),
        (12,),
    ),
    "nested": (
        "CompiledSequential",
        lambda: nn.Sequential(
            nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Dropout(0.5)),
            nn.Sequential(nn.Sequential(nn.Tanh(), nn.Identity()), nn.Linear(8, CLASSES)),
        ),
        (3, 4),
    ),
    "activation first": ("CompiledSequential", lambda: nn.Sequential(nn.Tanh(), nn.Linear(12, CLASSES)), (12,)),
    "odd activations": (
        "CompiledSequential",
        lambda: nn.Sequential(
            nn.Linear(12, 8), nn.GELU(), nn.Linear(8, 8), nn.LeakyReLU(0.3), nn.Linear(8, 8), nn.SELU(), nn.Linear(8, CLASSES)
        ),
        (12,),
    ),
    "convolution": (
        "CompiledSequential",
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, CLASSES),
        ),
        (2, 8, 8),
    ),
    "grouped convolution": (
        "CompiledSequential",
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3, groups=2, bias=False),
            nn.Sigmoid(),
            nn.Conv2d(8, 8, (2, 1), stride=2, dilation=2, groups=4),
            nn.AvgPool2d((1, 2)),
            nn.Flatten(1),
            nn.Linear(16, CLASSES),
        ),
        (4, 8, 8),
    ),
    "unflattened": (
        "CompiledSequential",
        lambda: nn.Sequential(
            nn.Linear(12, 16),
            nn.Unflatten(1, (1, 4, 4)),
            nn.Conv2d(1, 3, 3, padding="same"),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(48, CLASSES),
        ),
        (12,),
    ),
    "tied": ("CompiledSequential", tied, (12,)),
    "parameters of its own": (
        "VmappedModule",
        lambda: nn.Sequential(nn.Linear(12, 8), nn.PReLU(), nn.LayerNorm(8), nn.Linear(8, CLASSES)),
        (12,),
    ),
    "normalised": (
        "CompiledSequential",
        lambda: trained(nn.BatchNorm1d(12), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU()),
        (12,),
    ),
    "normalised by kept statistics": (
        "CompiledSequential",
        lambda: trained(nn.BatchNorm1d(12, affine=False), nn.Linear(12, 8)),
        (12,),
    ),
    "layer norm": (
        "CompiledSequential",
        lambda: trained(nn.LayerNorm(12), nn.Linear(12, 8), nn.LayerNorm(8, bias=False)),
        (12,),
    ),
    "norm of roots": (
        "CompiledSequential",
        lambda: trained(nn.RMSNorm(12, elementwise_affine=False), nn.Linear(12, 8), nn.Tanh(), nn.RMSNorm(8, eps=0.1)),
        (12,),
    ),
    "normalised images": (
        "CompiledSequential",
        lambda: trained(
            nn.Conv2d(2, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3),
            nn.GroupNorm(2, 4),
            nn.Tanh(),
            nn.InstanceNorm2d(4, affine=True),
            nn.Conv2d(4, 2, 3),
            nn.InstanceNorm2d(2),
            nn.Flatten(),
        ),
        (2, 8, 8),
    ),
    "sequences": (
        "CompiledSequential",
        lambda: trained(
            nn.Conv1d(3, 4, 3, padding=1),
            nn.BatchNorm1d(4),
            nn.GELU(),
            nn.MaxPool1d(2),
            nn.Conv1d(4, 6, 2, groups=2, dilation=2),
            nn.GroupNorm(3, 6),
            nn.AvgPool1d(2),
            nn.Flatten(),
        ),
        (3, 12),
    ),
    "norm of a pixel's channels": (
        "VmappedModule",
        lambda: trained(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3), nn.Flatten()),
        (2, 4, 4),
    ),
    "two axes": (
        "VmappedModule",
        lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Flatten(), nn.Linear(18, CLASSES)),
        (3, 4),
    ),
    "residual": ("VmappedModule", Residual, (12,)),
    "subclass": ("VmappedModule", lambda: nn.Sequential(Doubling(12, 8), nn.ReLU(), nn.Linear(8, CLASSES)), (12,)),
    "hooked": ("VmappedModule", hooked, (12,)),
    "deciding": ("LoopedModule", Deciding, (12,)),
    "frozen encoder": ("CompiledSequential", frozen_encoder, (2, 8, 8)),
    "frozen in the middle": ("VmappedModule", frozen_in_the_middle, (12,)),
    "frozen bias": ("VmappedModule", frozen_bias, (12,)),
}


def parameters_of(model: nn.Module) -> int:
    return sum(block.size for block in trainable_model("own", model).layout)


def random_candidates(model: nn.Module, count: int = CANDIDATES) -> Float32Array:
    generator = np.random.default_rng(3)
    rows = candidate_rows(count, parameters_of(model))
    rows[:] = generator.normal(0, 0.4, rows.shape)
    return rows


def samples_of(shape: tuple[int, ...], count: int = SAMPLES) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.rand((count, *shape), generator=generator), torch.randint(0, CLASSES, (count,), generator=generator)


def plain_fitness(model: nn.Module, candidates: Float32Array, inputs: torch.Tensor, labels: torch.Tensor) -> Float64Array:
    """One candidate after another, in torch's own words, in float64."""
    model = model.eval().double()
    shapes = {name: parameter.shape for name, parameter in learned_parameters(model)}
    answers = []
    for candidate in candidates:
        values, tensors = torch.tensor(candidate, dtype=torch.float64), {}
        for name, shape in shapes.items():
            tensors[name], values = values[: shape.numel()].view(shape), values[shape.numel() :]
        with torch.no_grad():
            logits = functional_call(model, tensors, (inputs.double(),))
            answers.append(-float(functional.cross_entropy(logits, labels)))
    return np.array(answers)


@pytest.mark.parametrize("kind", MODELS)
def test_scores_and_fitness_are_what_one_candidate_after_another_gives(kind: str) -> None:
    method, make, shape = MODELS[kind]
    model = make()
    inputs, labels = samples_of(shape)
    candidates = random_candidates(model)
    evaluator = Evaluator(model, "cross_entropy", inputs)
    assert evaluator.method == method
    expected = plain_fitness(model, candidates, inputs, labels)
    batch = evaluator.prepare(inputs, labels, is_exact=False)
    scores = evaluator.scores(candidates, batch)
    assert list(scores) == list(evaluator.scores(candidates, batch))
    exact_batch = evaluator.prepare(inputs, labels, is_exact=True)
    exact = [evaluator.fitness(candidate, exact_batch) for candidate in candidates]
    np.testing.assert_allclose(scores, expected, rtol=2e-6)
    np.testing.assert_allclose(exact, expected, rtol=1e-12)
    assert list(np.argsort(scores)) == list(np.argsort(exact))


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 70), samples=st.integers(1, 1_200), width=st.sampled_from([1, 3, 256]))
def test_cutting_into_chunks_and_pieces_changes_nothing(count: int, samples: int, width: int) -> None:
    model = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, CLASSES))
    inputs, labels = samples_of((4,), samples)
    candidates = random_candidates(model, count)
    evaluator = Evaluator(model, "cross_entropy", inputs)
    scores = evaluator.scores(candidates, evaluator.prepare(inputs, labels, is_exact=False))
    chosen = [0, count // 2, count - 1]
    np.testing.assert_allclose(scores[chosen], plain_fitness(model, candidates[chosen], inputs, labels), rtol=1e-5)


def squared_error(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return (outputs - labels).square().sum(1)


@pytest.mark.parametrize("make", [lambda: nn.Linear(12, CLASSES), Residual, Deciding])
def test_a_loss_of_ones_own_sees_samples_of_all_candidates_side_by_side(make: Callable[[], nn.Module]) -> None:
    model = make()
    inputs, _ = samples_of((12,))
    targets = torch.rand(SAMPLES, CLASSES, generator=torch.Generator().manual_seed(1))
    candidates = random_candidates(model)
    evaluator = Evaluator(model, squared_error, inputs)
    batch = evaluator.prepare(inputs, targets, is_exact=False)
    exact = evaluator.prepare(inputs, targets, is_exact=True)
    outputs = [evaluator.logits(candidate, batch) for candidate in candidates]
    expected = [-float(squared_error(output, targets).mean()) for output in outputs]
    np.testing.assert_allclose(evaluator.scores(candidates, batch), expected, rtol=1e-5)
    np.testing.assert_allclose([evaluator.fitness(candidate, exact) for candidate in candidates], expected, rtol=1e-5)


def test_a_loss_that_averages_over_samples_is_refused() -> None:
    def average(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return squared_error(outputs, labels).mean()

    inputs, _ = samples_of((12,))
    evaluator = Evaluator(nn.Linear(12, CLASSES), average, inputs)
    batch = evaluator.prepare(inputs, torch.zeros(SAMPLES, CLASSES), is_exact=False)
    with pytest.raises(TaskError, match=r"loss has shape \(\), expected \(66,\): one value per sample"):
        evaluator.scores(np.zeros((2, 12 * CLASSES + CLASSES), dtype=np.float32), batch)


@pytest.mark.parametrize("loss", ["cross_entropy", lambda outputs, labels: outputs[:, 0] - labels])
def test_a_candidate_that_gives_no_number_is_the_worst_and_spoils_no_other(loss: Loss) -> None:
    inputs, labels = samples_of((12,))
    evaluator = Evaluator(nn.Linear(12, CLASSES), loss, inputs)
    candidates = random_candidates(nn.Linear(12, CLASSES))
    batch, exact = (evaluator.prepare(inputs, labels, is_exact=is_exact) for is_exact in (False, True))
    before = evaluator.scores(candidates, batch)
    candidates[2, 5] = np.nan
    after = evaluator.scores(candidates, batch)
    assert after[2] == evaluator.fitness(candidates[2], exact) == -math.inf
    np.testing.assert_array_equal(np.delete(after, 2), np.delete(before, 2))


def test_read_only_parameters_are_measured() -> None:
    inputs, labels = samples_of((12,))
    evaluator = Evaluator(nn.Linear(12, CLASSES), "cross_entropy", inputs)
    parameters = np.zeros(12 * CLASSES + CLASSES, dtype=np.float32)
    parameters.setflags(write=False)
    assert evaluator.fitness(parameters, evaluator.prepare(inputs, labels, is_exact=True)) == pytest.approx(-math.log(CLASSES))


def test_a_sequence_of_labels_counts_as_one_sample() -> None:
    model = nn.Sequential(nn.Embedding(6, 8), nn.Linear(8, CLASSES))
    tokens = torch.tensor([[0, 1, 2], [3, 4, 5]])
    labels = torch.tensor([[0, 1, 2], [2, 1, 4]])
    evaluator = Evaluator(model, "cross_entropy", tokens)
    candidates = random_candidates(model)
    scores = evaluator.scores(candidates, evaluator.prepare(tokens, labels, is_exact=False))
    exact = evaluator.prepare(tokens, labels, is_exact=True)
    expected = []
    for candidate in candidates:
        logits = evaluator.logits(candidate, evaluator.prepare(tokens, labels, is_exact=False))
        expected.append(-float(functional.cross_entropy(logits.flatten(0, 1), labels.flatten())))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_allclose([evaluator.fitness(candidate, exact) for candidate in candidates], expected, rtol=1e-5)


def test_dropout_and_batch_statistics_are_those_of_evaluation() -> None:
    model = nn.Sequential(nn.Linear(12, CLASSES), nn.Dropout(0.9)).train()
    inputs, labels = samples_of((12,))
    evaluator = Evaluator(model, "cross_entropy", inputs)
    batch = evaluator.prepare(inputs, labels, is_exact=False)
    candidates = random_candidates(model)
    assert list(evaluator.scores(candidates, batch)) == list(evaluator.scores(candidates, batch))
    assert model.training


def test_the_layout_follows_named_parameters_and_vectors_start_at_zero() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, (4, 5)), nn.Flatten(), nn.Linear(6, 2))
    assert trainable_model("own", model).layout == (
        ParameterBlock("0.weight", (3, 2, 4, 5), 40),
        ParameterBlock("0.bias", (3,), 0),
        ParameterBlock("2.weight", (2, 6), 6),
        ParameterBlock("2.bias", (2,), 0),
    )


def test_tensors_of_candidates_are_views_of_the_matrix() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    candidates = torch.arange(30, dtype=torch.float32).view(2, 15)[:, :11]
    views = {name: part.of(candidates) for name, part in slices_of(model).items()}
    assert {view.untyped_storage().data_ptr() for view in views.values()} == {candidates.untyped_storage().data_ptr()}
    assert {name: view.tolist() for name, view in views.items()} == {
        "0.weight": [[[0, 1, 2], [3, 4, 5]], [[15, 16, 17], [18, 19, 20]]],
        "0.bias": [[6, 7], [21, 22]],
        "1.weight": [[[8, 9]], [[23, 24]]],
        "1.bias": [[10], [25]],
    }


def test_rows_of_candidates_start_on_cache_lines() -> None:
    rows = candidate_rows(3, 1_000)
    assert rows.shape == (3, 1_000)
    assert [row.ctypes.data % 64 for row in rows] == [0, 0, 0]
    assert [candidates_at_once(size) for size in (1, 4_810, 85_002, 10**8)] == [64, 64, 18, 4]


@pytest.mark.parametrize("make", [tied, Shared, lambda: nn.Linear(12, CLASSES)])
def test_a_call_with_other_tensors_leaves_the_model_as_it_was(make: Callable[[], nn.Module]) -> None:
    model = make()
    before = {name: id(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    tensors = {name: torch.full_like(parameter, 0.5) for name, parameter in learned_parameters(model)}
    inputs, _ = samples_of((12,))
    outputs = FunctionalModel(model)(tensors, inputs)
    assert {name: id(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)} == before
    for parameter in model.parameters():
        parameter.data.fill_(0.5)
    torch.testing.assert_close(model(inputs), outputs)
