"""What a user's module brings stays what it is: constants, frozen tensors, buffers, shared weights; and its file loads back."""

import copy
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

from learning.exact import first_weights, stream_key
from learning.models.description import described_model
from learning.models.frame import model_file
from learning.models.trainable import Start, TrainableModel, trainable_model
from learning.task import Float32Array, TaskError

KEY = stream_key(b"test")


class Tied(nn.Module):
    """A language model's head that is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(tokens))


class LayerScaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.full((4,), 1e-3))
        self.temperature = nn.Parameter(torch.tensor(0.7))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return (values + self.scale * self.inner(values)) / self.temperature


def with_frozen_encoder() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
    model[0].requires_grad_(False)
    return model


def with_half_frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 6).to(torch.bfloat16), nn.Tanh(), nn.Linear(6, 3))
    model[0].requires_grad_(False)
    return model


def tied_across_a_frozen_tensor() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    model[1].weight = model[0].weight
    return model


def complex_layer() -> nn.Module:
    layer = nn.Module()
    layer.weight = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    return layer


MODELS: Mapping[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)),
    "running statistics without a scale": lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, affine=False)),
    "layer norm": lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)),
    "group norm": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4)),
    "rms norm": lambda: nn.Sequential(nn.Linear(4, 5), nn.RMSNorm(5)),
    "instance norm": lambda: nn.Sequential(nn.Conv1d(1, 4, 3), nn.InstanceNorm1d(4, affine=True, track_running_stats=True)),
    "a slope of its own": lambda: nn.Sequential(nn.Linear(4, 5), nn.PReLU()),
    "weight norm": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))),
    "spectral norm": lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5))),
    "LSTM": lambda: nn.LSTM(4, 3),
    "attention": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "tied": Tied,
    "tied three times": lambda: nn.Sequential(*[nn.Linear(4, 4)] * 3),
    "layer scale": LayerScaled,
    "frozen encoder": with_frozen_encoder,
    "frozen in bfloat16": with_half_frozen,
    "frozen and tied": tied_across_a_frozen_tensor,
    "learned in bfloat16": lambda: nn.Linear(4, 3).to(torch.bfloat16),
}


def taken_home(taken: TrainableModel, parameters: Float32Array) -> dict[str, torch.Tensor]:
    return load(model_file(taken.layout, parameters, {}, taken.frame()))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("start", Start)
def test_the_file_loads_into_the_user_s_own_module(name: str, start: Start) -> None:
    model = MODELS[name]()
    before = copy.deepcopy(model.state_dict())
    taken = trainable_model("t", model, start)
    parameters = first_weights(KEY, taken.layout) + np.float32(0.125)
    fresh = MODELS[name]()
    result = fresh.load_state_dict(taken_home(taken, parameters), strict=True)
    assert not result.missing_keys
    assert not result.unexpected_keys
    flat = [p.detach().float().flatten() for _, p in fresh.named_parameters() if p.requires_grad]
    expected = torch.from_numpy(parameters)
    torch.testing.assert_close(torch.cat(flat), expected, rtol=2**-8, atol=0)  # where it is bfloat16
    learned = {block.name for block in taken.layout}
    for path, tensor in fresh.named_parameters():
        if path not in learned:
            assert torch.equal(tensor, before[path]), path
    for path, tensor in fresh.named_buffers():
        assert torch.equal(tensor, before[path]), path
    assert all(torch.equal(tensor, before[path]) for path, tensor in model.state_dict().items()), "the model was changed"


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm1d(5), nn.LayerNorm(5), nn.GroupNorm(1, 5), nn.RMSNorm(5), nn.PReLU(), nn.InstanceNorm1d(5, affine=True)],
    ids=lambda layer: type(layer).__name__,
)
def test_constants_start_as_they_are(layer: nn.Module) -> None:
    taken = trainable_model("t", nn.Sequential(nn.Linear(4, 5), layer))
    first = first_weights(KEY, taken.layout)
    expected = torch.cat([parameter.detach().flatten() for parameter in layer.parameters()]).numpy()
    np.testing.assert_array_equal(first[25:], expected)
    assert np.unique(first[:20]).size > 10, "weights are noise"
    np.testing.assert_array_equal(first[20:25], 0)


def test_a_bias_of_one_number_that_its_layer_draws_is_no_constant() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        taken = trainable_model("t", nn.Sequential(nn.Linear(4, 1), LayerScaled().inner))
        assert [(block.fan_in, block.constant) for block in taken.layout] == [(4, 0), (0, 0), (4, 0), (0, 0)]


def test_single_numbers_of_the_user_s_own_are_constants() -> None:
    taken = trainable_model("t", LayerScaled())
    constants = {block.name: block.constant for block in taken.layout}
    assert constants["temperature"] == np.float32(0.7)
    assert constants["scale"] == np.float32(1e-3)


def test_given_numbers_are_where_learning_starts() -> None:
    model = Tied()
    taken = trainable_model("t", model, Start.GIVEN)
    np.testing.assert_array_equal(
        first_weights(KEY, taken.layout), model.embedding.weight.detach().numpy().flatten(), strict=True
    )


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Tanh()), "it has no parameters"),
        (nn.Linear(2, 2).requires_grad_(False), "all 2 of its tensors are frozen"),
        (nn.Sequential(nn.LazyLinear(3)), "0.weight has no shape yet"),
        (complex_layer(), "weight is complex64, which cannot be learned"),
    ],
    ids=["none", "frozen", "lazy", "complex"],
)
def test_what_cannot_be_learned_is_said(model: nn.Module, said: str) -> None:
    with pytest.raises(TaskError, match=said) as caught:
        trainable_model("t", model)
    assert caught.value.fix


def test_settings_that_torch_s_layers_do_not_show_are_described() -> None:
    described = set()
    for heads, activation, is_norm_first in ((1, "relu", False), (2, "relu", False), (2, "gelu", False), (2, "gelu", True)):
        layer = nn.TransformerEncoderLayer(4, heads, 8, activation=activation, norm_first=is_norm_first)
        described.add(tuple(described_model(layer, trainable_model("t", layer).layout)))
    assert len(described) == 4
