"""Weights to start from, patterns of what learns, and adapters: as a network file asks for them, or why not."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file, save_model
from torch import nn

from learning.exact import first_weights, stream_key
from learning.models.candidates import FunctionalModel
from learning.models.frame import model_file
from learning.models.rules import ModelRules
from learning.models.trainable import TrainableModel, trainable_model
from learning.models.weights_file import weights_digest
from learning.task import TaskError

KEY = stream_key(b"test")


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def with_parameter(values: torch.Tensor, *, is_learned: bool = True) -> nn.Module:
    module = nn.Linear(2, 2)
    module.extra = nn.Parameter(values, requires_grad=is_learned)
    return module


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(self.embedding(tokens)))


def rules_with(path: Path, **others: object) -> ModelRules:
    return ModelRules(start=path.name, start_digest=weights_digest(path), **others)


def output_of(taken: TrainableModel, parameters: np.ndarray, inputs: torch.Tensor) -> torch.Tensor:
    flat = torch.from_numpy(parameters)[None]
    tensors = {name: part.of(flat)[0] for name, part in taken.slices.items()}
    return FunctionalModel(taken.module)(tensors, inputs).detach()


# --- weights --------------------------------------------------------------------------------------------------------


def test_learning_starts_from_the_file_s_weights(tmp_path: Path) -> None:
    given, path = network(), tmp_path / "w.safetensors"
    given[1].running_mean.fill_(0.5)
    save_file(given.state_dict(), path)
    taken = trainable_model("t", network(), rules=rules_with(path), folders=(Path("/nowhere"), tmp_path))
    first = first_weights(KEY, taken.layout)
    assert torch.equal(torch.from_numpy(first), torch.cat([p.detach().flatten() for p in given.parameters()]))
    home = load(model_file(taken.layout, first, {}, taken.frame()))
    assert all(torch.equal(tensor, home[name]) for name, tensor in given.state_dict().items())


def test_a_file_may_hold_a_shared_tensor_once(tmp_path: Path) -> None:
    given, path = Tied(), tmp_path / "w.safetensors"
    save_model(given, str(path))
    taken = trainable_model("t", Tied(), rules=rules_with(path), folders=(tmp_path,))
    assert sum(block.size for block in taken.layout) == 28 + 20
    fresh = Tied()
    fresh.load_state_dict(load(model_file(taken.layout, first_weights(KEY, taken.layout), {}, taken.frame())), strict=True)
    assert torch.equal(fresh.head.weight, given.embedding.weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("5.bias"), "it has no 5.bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "it has extra, which the model lacks"),
        (lambda tensors: tensors.update({"0.bias": torch.zeros(9)}), r"0.bias of shape \(9,\), the model's is \(8,\)"),
        (lambda tensors: tensors.update({"0.bias": torch.zeros(8, dtype=torch.int64)}), "0.bias of type int64"),
        (lambda tensors: tensors.update({"0.bias": torch.full((8,), torch.nan)}), "0.bias with numbers that are not finite"),
    ],
    ids=["missing", "extra", "shape", "type", "nan"],
)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, change: object, said: str) -> None:
    tensors, path = dict(network().state_dict()), tmp_path / "w.safetensors"
    change(tensors)  # type: ignore[operator]
    save_file(tensors, path)
    with pytest.raises(TaskError, match=said) as caught:
        trainable_model("t", network(), rules=rules_with(path), folders=(tmp_path,))
    assert caught.value.fix


def test_a_pickle_another_file_and_no_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    torch.save(network().state_dict(), path)
    with pytest.raises(TaskError, match="is no safetensors file") as caught:
        trainable_model("t", network(), rules=rules_with(path), folders=(tmp_path,))
    assert "pickles run code" in str(caught.value.fix)
    rules = rules_with(path)
    save_file(network().state_dict(), path)
    with pytest.raises(TaskError, match=r"has the digest [0-9a-f]{64}, model.start_digest is [0-9a-f]{64}"):
        trainable_model("t", network(), rules=rules, folders=(tmp_path,))
    with pytest.raises(TaskError, match=r"no file w\.safetensors"):
        trainable_model("t", network(), rules=rules, folders=(tmp_path / "elsewhere",))


# --- patterns -------------------------------------------------------------------------------------------------------


def test_only_what_the_patterns_name_learns() -> None:
    model = network()
    taken = trainable_model("t", model, rules=ModelRules(trainable=("5.*", "1.weight")))
    assert [block.name for block in taken.layout] == ["1.weight", "5.weight", "5.bias"]
    home = load(model_file(taken.layout, first_weights(KEY, taken.layout), {}, taken.frame()))
    assert torch.equal(home["0.weight"], model[0].weight)
    assert all(parameter.requires_grad for parameter in model.parameters()), "the user's own model was changed"


def test_a_shared_tensor_learns_under_any_of_its_names() -> None:
    taken = trainable_model("t", Tied(), rules=ModelRules(trainable=("head.*",)))
    assert [block.name for block in taken.layout] == ["embedding.weight"]


def test_a_pattern_that_meets_nothing_is_refused_with_what_is_near() -> None:
    with pytest.raises(TaskError, match=r"names '5.wieght', which meets no tensor \(did you mean '5.weight'\?\)"):
        trainable_model("t", network(), rules=ModelRules(trainable=("5.bias", "5.wieght")))


# --- adapters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [(), ("5.bias",), ("5.b*",)])
def test_an_adapter_learns_beside_its_layer_and_is_merged_at_home(others: tuple[str, ...]) -> None:
    model, inputs = network(), torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    rules = ModelRules(adapters=("0", "[35]"), adapter_rank=2, adapter_alpha=4, trainable=others)
    taken = trainable_model("t", model, rules=rules)
    sizes = 2 * (6 + 8) + 2 * (8 + 8) + 2 * (8 + 3)
    assert sum(block.size for block in taken.layout) == sizes + 3 * len(others)
    first = first_weights(KEY, taken.layout)
    expected = copy.deepcopy(model).eval()
    if others:
        expected[5].bias.data.zero_()
    torch.testing.assert_close(output_of(taken, first, inputs), expected(inputs).detach())
    tuned = first + np.float32(0.25) * np.sin(np.arange(len(first), dtype=np.float32))
    fresh = network()
    fresh.load_state_dict(load(model_file(taken.layout, tuned, {}, taken.frame())), strict=True)
    torch.testing.assert_close(output_of(taken, tuned, inputs), fresh.eval()(inputs).detach())
    assert not torch.equal(fresh[0].weight, model[0].weight)


def test_a_pattern_never_frees_the_weight_that_an_adapter_is_beside() -> None:
    """Its file would hold the one or the other."""
    model, inputs = network(), torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    taken = trainable_model("t", model, rules=ModelRules(adapters=("0",), adapter_rank=2, trainable=("*",)))
    assert "0.parametrizations.weight.original" not in {block.name for block in taken.layout}
    tuned = first_weights(KEY, taken.layout) + np.float32(0.25)
    fresh = network()
    fresh.load_state_dict(load(model_file(taken.layout, tuned, {}, taken.frame())), strict=True)
    torch.testing.assert_close(output_of(taken, tuned, inputs), fresh.eval()(inputs).detach())


def test_what_has_no_adapter_keeps_its_type() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double(), nn.Linear(4, 4).to(torch.bfloat16))
    taken = trainable_model("t", model, rules=ModelRules(adapters=("0",)))
    home = load(model_file(taken.layout, first_weights(KEY, taken.layout), {}, taken.frame()))
    assert torch.equal(home["1.weight"], model[1].weight)
    assert torch.equal(home["2.weight"], model[2].weight)


@pytest.mark.parametrize(
    ("model", "rules", "said"),
    [
        (
            nn.Sequential(nn.LazyLinear(3)),
            ModelRules(start="w.safetensors", start_digest="00" * 32),
            "0.weight has no shape yet",
        ),
        (nn.Sequential(nn.LazyLinear(3)), ModelRules(adapters=("0",)), "0.weight has no shape yet"),
        (nn.Sequential(nn.LazyLinear(3)), ModelRules(trainable=("0.*",)), "0.weight has no shape yet"),
        (nn.Linear(2, 2, device="meta"), ModelRules(), "weight has no numbers, as on the device meta"),
        (
            with_parameter(torch.arange(3), is_learned=False),
            ModelRules(trainable=("*",)),
            "extra is int64, which cannot be learned",
        ),
        (with_parameter(torch.empty(0)), ModelRules(), "extra has no numbers"),
        (with_parameter(torch.zeros(2, dtype=torch.complex128), is_learned=False), ModelRules(), "extra is torch.complex128"),
    ],
    ids=["lazy start", "lazy adapter", "lazy pattern", "meta", "int64", "empty", "complex128"],
)
def test_odd_tensors_are_refused_by_name_whatever_the_rules(model: nn.Module, rules: ModelRules, said: str) -> None:
    with pytest.raises(TaskError, match=said) as caught:
        trainable_model("t", model, rules=rules)
    assert caught.value.fix


def test_a_model_that_reads_weights_past_the_layer_s_forward_sees_its_adapters() -> None:
    """torch's fused encoder layer takes the weights themselves."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    taken = trainable_model("t", layer, rules=ModelRules(adapters=("linear*",), adapter_rank=1))
    first = first_weights(KEY, taken.layout)
    inputs = torch.randn(2, 5, 8)
    with torch.inference_mode():
        assert not torch.allclose(output_of(taken, first, inputs), output_of(taken, first + np.float32(0.5), inputs))


@pytest.mark.parametrize(
    ("model", "pattern", "said"),
    [
        (network(), "7", "'7', which meets no layer"),
        (network(), "1", r"meets 1 \(BatchNorm1d\), which take no adapter"),
        (Tied(), "head", "'head', whose weight is also 'embedding.weight'"),
        (nn.Sequential(nn.Conv2d(1, 1, 1)), "*", "which take no adapter"),
    ],
)
def test_an_adapter_where_none_fits_is_refused(model: nn.Module, pattern: str, said: str) -> None:
    with pytest.raises(TaskError, match=said) as caught:
        trainable_model("t", model, rules=ModelRules(adapters=(pattern,)))
    assert caught.value.fix
