"""What people choose about learning: the options that `init` and `testnet` share, checked before anything is made."""

from collections.abc import Callable

import click

from learning.aggregation.catalogue import RULES, RuleError, rule_named, rule_text
from learning.gradient.rules import GradientRules
from learning.tasks.shards import parse_shards
from node.common.errors import NodeError
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
            help='Samples that a peer computes on: "whole", "iid" or "dirichlet:0.5" (smaller: more unequal). '
            f"Default: {SHARDS_DEFAULT}.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def gradient_section(learning: str, rule: str | None, shards: str | None, *, shard_count: int) -> GradientRules | None:
    """The [gradient] section that the options ask for; None where learning is by evolution. Raises NodeError."""
    if Learning(learning) is Learning.EVOLUTION:
        for option, value in (("--rule", rule), ("--shards", shards)):
            if value is not None:
                raise NodeError(f"{option} is of no use with --learning evolution", "add --learning gradient")
        return None
    try:
        text = rule_text(rule_named(rule or RULE_DEFAULT))
    except RuleError as error:
        raise NodeError(f"--rule: {error}", "choose what is allowed") from error
    try:
        parse_shards(shards or SHARDS_DEFAULT)
    except ValueError as error:
        raise NodeError(f"--shards: {error}", "choose what is allowed") from error
    name = text.partition(":")[0]
    return GradientRules(
        rule=text, learning_rate=RULES[name].learning_rate, shards=shards or SHARDS_DEFAULT, shard_count=shard_count
    )
