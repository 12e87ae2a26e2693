"""What people choose about learning: the options that `init` and `testnet` share, checked before anything is made."""

from collections.abc import Callable
from dataclasses import dataclass

import click

from learning.aggregation.catalogue import RULES, RuleError, rule_named, rule_text
from learning.gradient.rules import GradientRules
from learning.tasks.shards import ShardKind, parse_shards
from node.common.errors import NodeError
from node.rules.network_file import ALL_MEASURE_ALIKE
from node.rules.network_rules import Learning

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


@dataclass(frozen=True, slots=True)
class LearningChoice:
    """What the options ask for."""

    gradient: GradientRules | None
    """None where learning is by evolution."""
    evolution_shards: str
    """Where it is."""

    @property
    def has_shards(self) -> bool:
        """Whether evolution needs samples that can be cut into shards."""
        return self.evolution_shards != ShardKind.WHOLE


def learning_choice(learning: str, rule: str | None, shards: str | None, *, is_order: bool, shard_count: int) -> LearningChoice:
    """The options, checked. `shard_count`: of an open network that learns by gradients. Raises NodeError."""
    try:
        found = str(parse_shards(shards)) if shards is not None else None
    except ValueError as error:
        raise NodeError(f"--shards: {error}", "choose what is allowed") from error
    if Learning(learning) is Learning.GRADIENT:
        return LearningChoice(
            _gradient_section(rule, found or SHARDS_DEFAULT, 0 if is_order else shard_count), ShardKind.WHOLE.value
        )
    if rule is not None:
        raise NodeError("--rule is of no use with --learning evolution", "add --learning gradient")
    if found not in {None, ShardKind.WHOLE} and not is_order:
        raise NodeError(
            f"--shards {found} is not for evolution by proof of work, {ALL_MEASURE_ALIKE}",
            "make it a total order (testnet: --consensus total-order, init: --members N), or add --learning gradient",
        )
    return LearningChoice(None, found or ShardKind.WHOLE.value)


def _gradient_section(rule: str | None, shards: str, shard_count: int) -> GradientRules:
    try:
        text = rule_text(rule_named(rule or RULE_DEFAULT))
    except RuleError as error:
        raise NodeError(f"--rule: {error}", "choose what is allowed") from error
    name = text.partition(":")[0]
    return GradientRules(rule=text, learning_rate=RULES[name].learning_rate, shards=shards, shard_count=shard_count)
