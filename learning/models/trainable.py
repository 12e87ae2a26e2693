"""A torch module as a user brings it: which of its numbers are learned, what these start from, and what stays as it is.

*Learned* are the parameters with `requires_grad`, each once however many layers share it. All else is *kept* bit for bit:
frozen parameters and buffers. A learned tensor whose numbers are all equal (a norm's scale of ones, a bias of zeros) starts as
it is; the others start from the network's own noise, or, where the module is said to be given, from the module's numbers.
"""

import copy
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import torch
from safetensors.torch import save
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from learning.models.adapters import add_adapters
from learning.models.candidates import Slices, learned_parameters, slices_of
from learning.models.frame import DTYPES, FRAME_KEY, AdapterTensor, Frame, FrameTensor, is_plain
from learning.models.rules import UNCHANGED, ModelRules
from learning.models.weights import load_weights
from learning.task import Layout, ParameterBlock, TaskError

OTHER_SEEDS = (1, 2)
"""A number that a layer draws anew under another seed was drawn, and is no constant."""

NAMES_SHOWN = 8
"""Of a model's tensors, where one was asked for that is not there."""

FLOATING = frozenset({torch.float32, torch.float64, torch.float16, torch.bfloat16})
"""What can be learned; it is learned in float32."""


class Start(StrEnum):
    """What the learned tensors start from."""

    NOISE = "noise"
    """The network's own, but for constants: the same on every peer, whatever each one's library draws."""
    GIVEN = "given"
    """The module's own numbers: the same on every peer only if they come from a file or a seed. They are part of its digest."""


@dataclass(frozen=True, slots=True)
class TrainableModel:
    """A module in float32 and in evaluation mode, ours alone, and where its learned tensors lie in the flat vector."""

    module: nn.Module
    layout: Layout
    slices: Slices
    names: Frame
    kept: Mapping[str, torch.Tensor]
    """The user's own tensors that are not learned, by their names in the state_dict."""

    def frame(self) -> bytes | None:
        """What `learning.models.frame` needs beside the layout, or None where the layout says it all."""
        if is_plain(self.names, self.layout):
            return None
        kept = {name: tensor.detach().clone().contiguous() for name, tensor in self.kept.items()}
        return save(kept, metadata={FRAME_KEY: msgspec.json.encode(self.names).decode()})


def trainable_model(
    name: str,
    module: nn.Module,
    start: Start = Start.NOISE,
    rules: ModelRules = UNCHANGED,
    folders: tuple[Path, ...] = (),
) -> TrainableModel:
    """Take the module apart; it is left as it is. `folders`: where the rules' weights are looked for.

    Raises TaskError, naming the task and the tensor: nothing to learn, a tensor that cannot be, weights that do not fit,
    patterns that meet nothing.
    """
    given, adapted = module, {}
    _check_tensors(name, module)
    if rules.changes_model:
        given = _copied(name, module)
    if rules.start:
        load_weights(name, given, rules, folders)
        start = Start.GIVEN
    whole = dict(given.state_dict(keep_vars=True))
    if rules.adapters:
        adapted = add_adapters(name, given, rules)
    if rules.trainable:
        _choose(name, given, rules.trainable, frozenset(adapter.beside for adapter in adapted.values()))
    _check(name, given)
    own = _copied(name, given).float().eval()
    ours = {block for adapter in adapted.values() for block in (adapter.down, adapter.up)}
    layout = tuple(
        _block(path, parameter, own, Start.NOISE if path in ours else start) for path, parameter in learned_parameters(own)
    )
    names, kept = _names(given, whole, adapted, layout)
    return TrainableModel(own, layout, slices_of(own), names, kept)


def _copied(name: str, module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError) as error:
        raise TaskError(
            f"task {name!r}: its model cannot be copied: {error}", "give it plain parameters: torch.nn.Parameter"
        ) from error


def _choose(name: str, module: nn.Module, patterns: tuple[str, ...], adapted: frozenset[str]) -> None:
    """What the patterns name learns; all else is frozen, but for adapters. `adapted`: the weights that these are beside."""
    paths = [path for path, _ in module.named_parameters(remove_duplicate=False) if path not in adapted]
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            close = difflib.get_close_matches(pattern, paths, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise TaskError(
                f"task {name!r}: model.trainable names {pattern!r}, which meets no tensor{hint}",
                f"this model has {', '.join(paths[:NAMES_SHOWN])}{', ...' if len(paths) > NAMES_SHOWN else ''}",
            )
    if not adapted:
        module.requires_grad_(False)
    for path in paths:
        if any(fnmatchcase(path, pattern) for pattern in patterns):
            parameter = module.get_parameter(path)
            if not parameter.is_floating_point():
                raise _unlearnable(name, path, parameter)
            parameter.requires_grad_(True)


def _check_tensors(name: str, module: nn.Module) -> None:
    """What no model may have, learned or not."""
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
            raise TaskError(
                f"task {name!r}: {path} has no shape yet, as in a lazy layer",
                "run the model on a sample once before you make the task",
            )
        if tensor.is_meta:
            raise TaskError(f"task {name!r}: {path} has no numbers, as on the device meta", "make the model on the processor")
        if str(tensor.dtype).removeprefix("torch.") not in DTYPES.values():
            raise TaskError(f"task {name!r}: {path} is {tensor.dtype}, which no model file holds", "make it another type")


def _unlearnable(name: str, path: str, parameter: torch.Tensor) -> TaskError:
    allowed = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in FLOATING))
    found = str(parameter.dtype).removeprefix("torch.")
    return TaskError(
        f"task {name!r}: {path} is {found}, which cannot be learned; allowed: {allowed}",
        "make it real numbers, or freeze it: requires_grad_(False)",
    )


def _check(name: str, module: nn.Module) -> None:
    for path, parameter in learned_parameters(module):
        if parameter.dtype not in FLOATING:
            raise _unlearnable(name, path, parameter)
        if not parameter.numel():
            raise TaskError(f"task {name!r}: {path} has no numbers", "leave it out, or freeze it: requires_grad_(False)")
    if not any(parameter.numel() for _, parameter in learned_parameters(module)):
        frozen = sum(1 for _ in module.parameters())
        found = f"all {frozen} of its tensors are frozen" if frozen else "it has no parameters"
        raise TaskError(f"task {name!r}: its model has nothing to learn: {found}", "leave requires_grad on what shall learn")


def _block(path: str, parameter: torch.Tensor, module: nn.Module, start: Start) -> ParameterBlock:
    """Weights start uniform in [-1/sqrt(fan_in), 1/sqrt(fan_in)), where fan_in is the inputs of one output, prod(shape[1:])."""
    shape = tuple(parameter.shape)
    values = parameter.detach().reshape(-1)
    if start is Start.GIVEN:
        return ParameterBlock(path, shape, 0, given=values.numpy().copy())
    if bool((values == values[0]).all()) and (len(values) > 1 or not _is_drawn(path, module)):
        return ParameterBlock(path, shape, 0, constant=float(values[0]))
    return ParameterBlock(path, shape, parameter[0].numel() if parameter.ndim > 1 else 0)


def _is_drawn(path: str, module: nn.Module) -> bool:
    """Whether the layer that holds this single number draws it by chance: then it is no constant, however equal to itself."""
    place, _, name = path.rpartition(".")
    layer = copy.deepcopy(module.get_submodule(place))
    if not callable(getattr(layer, "reset_parameters", None)):
        return False
    drawn = []
    with torch.random.fork_rng(devices=[]):
        for seed in OTHER_SEEDS:
            torch.manual_seed(seed)
            layer.reset_parameters()
            drawn.append(getattr(layer, name).detach().clone())
    return not torch.equal(*drawn)


def _names(
    module: nn.Module, whole: Mapping[str, object], adapted: Mapping[str, AdapterTensor], layout: Layout
) -> tuple[Frame, Mapping[str, torch.Tensor]]:
    """By which names the user's own module knows its tensors (`whole`: its state_dict), and those that are not learned."""
    first_names = {id(parameter): path for path, parameter in module.named_parameters()}
    learned = {block.name for block in layout}
    names: list[FrameTensor] = []
    kept: dict[str, torch.Tensor] = {}
    for path, tensor in whole.items():
        first_name = first_names.get(id(tensor), "")
        if first_name in learned:
            names.append(FrameTensor(path, first_name))
        elif isinstance(tensor, torch.Tensor):  # else a module's extra state, which no safetensors file holds
            names.append(FrameTensor(path, adapter=adapted.get(path)))
            kept[path] = tensor
    return tuple(names), kept
