"""What people choose about learning: the options that `init` and `testnet` share, checked before anything is made."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from learning.aggregation.catalogue import RULES, RuleError, rule_named, rule_text
from learning.gradient.rules import GradientRules
from learning.models.rules import UNCHANGED, ModelRules
from learning.models.weights_file import weights_digest
from learning.tasks.shards import ShardKind, parse_shards
from node.cli.arguments import FILE, refuse_given
from node.common.errors import NodeError, disk_error
from node.processes.task_facts import task_section
from node.rules.network_file import ALL_MEASURE_ALIKE
from node.rules.network_rules import Learning, TaskSection
from node.rules.typed_toml import TomlProblem, converted, range_of

RULE_DEFAULT = "robust"
"""It holds under every attack that we know of, and costs little without one."""

SHARDS_DEFAULT = "iid"
"""No two peers compute on the same samples."""


def learning_options(command: Callable[..., object]) -> Callable[..., object]:
    """Adds --learning, --rule and --shards: what `init` and `testnet` ask of a new network besides its task."""
    options = (
        click.option(
            "--learning",
            type=click.Choice([item.value for item in Learning]),
            default=Learning.EVOLUTION.value,
            show_default=True,
            help="How the next model is found: evolution needs no gradients.",
        ),
        click.option(
            "--rule",
            metavar="NAME[:option=value,...]",
            help=f"How gradients become steps: {', '.join(RULES)}. Default: {RULE_DEFAULT}.",
        ),
        click.option(
            "--shards",
            metavar="SHARDS",
            help='Samples that are a peer\'s own: "whole", "iid" or "dirichlet:0.5" (smaller: more unequal). '
            f"Default: {SHARDS_DEFAULT} by gradients, {ShardKind.WHOLE} by evolution, which has others in a total order alone.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


MODEL_PARAMETERS = ("start_weights", "trainable", "adapters", "adapter_rank", "adapter_alpha")
"""Of `model_options`."""


def model_options(command: Callable[..., object]) -> Callable[..., object]:
    """Adds what `init` and `testnet` ask about the task's torch model."""
    options = (
        click.option(
            "--start-weights",
            "start_weights",
            type=FILE,
            help="A .safetensors file that the task's model starts from, instead of noise. Every peer needs it.",
        ),
        click.option(
            "--trainable",
            "trainable",
            multiple=True,
            metavar="PATTERN",
            help='Tensors that learn, like "head.*"; the others stay as they are. May be given several times.',
        ),
        click.option(
            "--adapter",
            "adapters",
            multiple=True,
            metavar="PATTERN",
            help="Linear layers that get a low-rank adapter (LoRA); all else is frozen. May be given several times.",
        ),
        click.option(
            "--adapter-rank",
            type=click.IntRange(*range_of(ModelRules, "adapter_rank")),
            default=UNCHANGED.adapter_rank,
            show_default=True,
            help="Columns of an adapter's two factors.",
        ),
        click.option(
            "--adapter-alpha",
            type=click.IntRange(*range_of(ModelRules, "adapter_alpha")),
            default=UNCHANGED.adapter_alpha,
            show_default=True,
            help="An adapter's product counts alpha / rank times.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _model_rules(context: click.Context) -> ModelRules:
    """The weights' digest is read off the file. Raises NodeError."""
    given = context.params
    if not given["adapters"]:
        refuse_given(context, ("adapter_rank", "adapter_alpha"), "without --adapter")
    path: Path | None = given["start_weights"]
    name, digest = ("", "") if path is None else _named_weights(path)
    rules = ModelRules(name, digest, given["trainable"], given["adapters"], given["adapter_rank"], given["adapter_alpha"])
    try:
        return converted(msgspec.to_builtins(rules), ModelRules)
    except TomlProblem as problem:
        raise NodeError(f"model.{problem}", "choose what is allowed") from problem


def _named_weights(path: Path) -> tuple[str, str]:
    """Raises NodeError."""
    if path.suffix != ".safetensors":
        fix = (
            "save the weights as one: safetensors.torch.save_file(model.state_dict(), ...); pickles run code, and are not read"
        )
        raise NodeError(f"--start-weights: {path} does not end in .safetensors", fix)
    try:
        return path.name, weights_digest(path)
    except FileNotFoundError as error:
        raise NodeError(f"--start-weights: there is no file {path}", "check the path") from error
    except OSError as error:
        raise disk_error("read the weights", path, error) from error


@dataclass(frozen=True, slots=True)
class LearningChoice:
    """What the options ask for."""

    gradient: GradientRules | None
    """None where learning is by evolution."""
    evolution_shards: str
    """Where it is."""
    model: ModelRules
    """What is changed about the task's model."""
    weights: Path | None
    """The file that it starts from."""

    def section_of(self, task: str) -> TaskSection:
        """The [task] section for a task with this model. Raises NodeError where the task is not fit for it."""
        return task_section(
            task,
            self.model,
            self.weights and self.weights.parent,
            needs_gradient=self.gradient is not None,
            needs_samples=self.evolution_shards != ShardKind.WHOLE,
        )


def learning_choice(context: click.Context, *, is_order: bool, shard_count: int) -> LearningChoice:
    """The options of `learning_options` and `model_options`, checked. `shard_count`: of an open network that learns by
    gradients. Raises NodeError.
    """
    given = context.params
    rule, shards = given["rule"], given["shards"]
    try:
        found = str(parse_shards(shards)) if shards is not None else None
    except ValueError as error:
        raise NodeError(f"--shards: {error}", "choose what is allowed") from error
    model = _model_rules(context), given["start_weights"]
    if Learning(given["learning"]) is Learning.GRADIENT:
        gradient = _gradient_section(rule, found or SHARDS_DEFAULT, 0 if is_order else shard_count)
        return LearningChoice(gradient, ShardKind.WHOLE.value, *model)
    if rule is not None:
        raise NodeError("--rule is of no use with --learning evolution", "add --learning gradient")
    if found not in {None, ShardKind.WHOLE} and not is_order:
        raise NodeError(
            f"--shards {found} is not for evolution by proof of work, {ALL_MEASURE_ALIKE}",
            "make it a total order (testnet: --consensus total-order, init: --members N), or add --learning gradient",
        )
    return LearningChoice(None, found or ShardKind.WHOLE.value, *model)


def _gradient_section(rule: str | None, shards: str, shard_count: int) -> GradientRules:
    try:
        text = rule_text(rule_named(rule or RULE_DEFAULT))
    except RuleError as error:
        raise NodeError(f"--rule: {error}", "choose what is allowed") from error
    name = text.partition(":")[0]
    return GradientRules(rule=text, learning_rate=RULES[name].learning_rate, shards=shards, shard_count=shard_count)
