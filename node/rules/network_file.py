"""network.toml: the rules of a network as people read them and copy them from peer to peer."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec

from learning.aggregation.catalogue import RuleError, needs_scores, rule_named, rule_text
from learning.tasks.shards import parse_shards
from node.common.errors import MEND_FILE, NodeError, disk_error
from node.common.files import write_new_file
from node.common.invocation import command_text
from node.rules.network_rules import (
    BLOCK_INTERVAL_MS_DEFAULT,
    FINALITY_DEPTH_DEFAULT,
    Consensus,
    EvolutionSection,
    GradientSection,
    Learning,
    NetworkRules,
    ProofOfWorkSection,
    TaskSection,
    TotalOrderSection,
    network_id,
)
from node.rules.settings import Strategy
from node.rules.typed_toml import TomlProblem, parse, render

NETWORK_FILE_BYTES_MAX = 65_536
"""Ours take 3 kB; whatever is larger is another file."""


def read_network_file(path: Path) -> NetworkRules:
    """The rules in the file. Raises NodeError naming the file, the field, the value found and what is allowed."""
    try:
        if path.stat().st_size > NETWORK_FILE_BYTES_MAX:
            raise NodeError(
                f"{path} has more than {NETWORK_FILE_BYTES_MAX:,} bytes, so it is not a network file", "check the path"
            )
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        fix = f"copy it from another peer of the network, or make a new network: {command_text('init', 'my-peer')}"
        raise NodeError(f"there is no network file {path}", fix) from error
    except OSError as error:
        raise disk_error("read the network file", path, error) from error
    except UnicodeDecodeError as error:
        raise NodeError(f"{path}: byte {error.start} is not UTF-8 text", "copy the file again, as it is") from error
    try:
        return parse_network_text(text)
    except TomlProblem as problem:
        fix = f"{MEND_FILE}; of a network that runs already, copy it again from another peer"
        raise NodeError(f"{path}: {problem}", fix) from problem


def parse_network_text(text: str) -> NetworkRules:
    """The rules that the text describes. Raises TomlProblem."""
    rules = _with_canonical_decimals(parse(text, NetworkRules))
    for problem in _problems(rules):
        raise TomlProblem(problem)
    return _with_canonical_rule(rules)


def write_network_file(path: Path, rules: NetworkRules) -> None:
    """Commented TOML, for people to read and to copy to other peers. Never overwrites. Raises NodeError."""
    write_new_file(path, network_text(rules).encode(), "write the network file", mode=0o644)


def network_text(rules: NetworkRules) -> str:
    """What stands in the network file."""
    return (
        "# The rules of one Kubrat network. Every peer needs this very file: whatever is changed here makes another network,\n"
        f"# with another id. When this file was made, its rules had the id {network_id(rules).hex()}.\n\n"
    ) + render(rules)


def _with_canonical_decimals(rules: NetworkRules) -> NetworkRules:
    """0.030 and 0.03 are one rule, so they must be one text."""
    evolution = msgspec.structs.replace(
        rules.evolution,
        step_size=_canonical_decimal(rules.evolution.step_size),
        step_size_factor=_canonical_decimal(rules.evolution.step_size_factor),
        step_size_floor=_canonical_decimal(rules.evolution.step_size_floor),
    )
    gradient = msgspec.structs.replace(
        rules.gradient,
        learning_rate=_canonical_decimal(rules.gradient.learning_rate),
        momentum=_canonical_decimal(rules.gradient.momentum),
    )
    return msgspec.structs.replace(rules, evolution=evolution, gradient=gradient)


def _with_canonical_rule(rules: NetworkRules) -> NetworkRules:
    """All options of the rule are in the id, so that no default can change what a network means; one way to share samples
    has one text.
    """
    if rules.learning is not Learning.GRADIENT:
        return rules
    rule, shards = rule_text(rule_named(rules.gradient.rule)), str(parse_shards(rules.gradient.shards))
    gradient = msgspec.structs.replace(rules.gradient, rule=rule, shards=shards)
    return msgspec.structs.replace(rules, gradient=gradient)


def _canonical_decimal(text: str) -> str:
    return format(Decimal(text).normalize(), "f")


def _problems(rules: NetworkRules) -> Iterator[str]:
    """What no single field shows."""
    yield from _member_problems(rules)
    yield from _gradient_problems(rules)
    evolution, work = rules.evolution, rules.proof_of_work
    if not 0 < Decimal(evolution.step_size) <= 10:
        yield f'evolution.step_size is "{evolution.step_size}"; allowed is above 0, up to 10'
    if not Decimal("0.5") <= Decimal(evolution.step_size_factor) <= 1:
        yield f'evolution.step_size_factor is "{evolution.step_size_factor}"; allowed is 0.5 to 1'
    if not 0 < Decimal(evolution.step_size_floor) <= Decimal(evolution.step_size):
        yield (
            f'evolution.step_size_floor is "{evolution.step_size_floor}"; '
            f"allowed is above 0, up to evolution.step_size ({evolution.step_size})"
        )
    if work.contest_depth >= work.finality_depth:
        yield (
            f"proof_of_work.contest_depth is {work.contest_depth}; "
            f"allowed is 1 to {work.finality_depth - 1}, below proof_of_work.finality_depth"
        )


def _gradient_problems(rules: NetworkRules) -> Iterator[str]:
    """The rule's own options are looked at by `learning.aggregation.catalogue`, which knows them."""
    if rules.learning is not Learning.GRADIENT:
        return
    gradient = rules.gradient
    if gradient.bits not in {8, 16}:
        yield f"gradient.bits is {gradient.bits}; allowed is 8 or 16"
    if not 0 < Decimal(gradient.learning_rate) <= 100:
        yield f'gradient.learning_rate is "{gradient.learning_rate}"; allowed is above 0, up to 100'
    if not 0 <= Decimal(gradient.momentum) < 1:
        yield f'gradient.momentum is "{gradient.momentum}"; allowed is 0 or more, below 1'
    if gradient.shards.startswith("dirichlet:") and not Decimal("0.01") <= Decimal(gradient.shards[10:]) <= 100:
        yield f'gradient.shards is "{gradient.shards}"; allowed is dirichlet:ALPHA with ALPHA from 0.01 to 100'
    if rules.consensus is Consensus.PROOF_OF_WORK and gradient.shards != "whole" and gradient.shard_count == 0:
        yield 'gradient.shard_count is 0; allowed is 1 or more under proof of work, unless gradient.shards is "whole"'
    try:
        is_by_scores = needs_scores(gradient.rule)
    except RuleError as error:
        yield f"gradient.rule: {error}"
        return
    if is_by_scores and rules.consensus is Consensus.PROOF_OF_WORK:
        yield 'gradient.rule is "scored", which needs members who score: allowed where consensus is "total-order"'


def _member_problems(rules: NetworkRules) -> Iterator[str]:
    members, order = rules.total_order.members, rules.total_order
    if rules.consensus is Consensus.TOTAL_ORDER and not members:
        yield "total_order.members is empty; allowed is a list of at least one public key"
    first_place: dict[str, int] = {}
    for place, key in enumerate(members):
        if not re.fullmatch(r"[0-9a-f]{64}", key):
            yield f"total_order.members[{place}] is {key[:70]!r}; allowed is a public key: 64 hexadecimal digits (0-9, a-f)"
        if first_place.setdefault(key, place) != place:
            first = first_place[key]
            yield f"total_order.members[{place}] is {key}, the same key as members[{first}]; allowed is each key once"
    if rules.consensus is Consensus.PROOF_OF_WORK and members:
        yield f'total_order.members has {len(members)} keys; allowed is none where consensus is "{Consensus.PROOF_OF_WORK}"'
    if order.delta_ms_min > order.delta_ms_max:
        yield f"total_order.delta_ms_min is {order.delta_ms_min}; allowed is 1 to delta_ms_max ({order.delta_ms_max})"
    if order.idle_interval_ms < order.round_interval_ms:
        yield (
            f"total_order.idle_interval_ms is {order.idle_interval_ms}; "
            f"allowed is total_order.round_interval_ms ({order.round_interval_ms}) or more"
        )


# --- new networks ---------------------------------------------------------------------------------------------------


def new_rules(
    name: str,
    seed: bytes,
    task: TaskSection,
    strategy: Strategy,
    *,
    block_interval_ms: int = BLOCK_INTERVAL_MS_DEFAULT,
    finality_depth: int = FINALITY_DEPTH_DEFAULT,
    members: tuple[str, ...] = (),
    gradient: GradientSection | None = None,
) -> NetworkRules:
    """The rules of a new network; `seed` is 32 random bytes. With members (keys in hex): of a total order among them.

    With `gradient`: a network that learns by gradients.

    Raises NodeError when a value is not allowed.
    """
    rules = NetworkRules(
        name=name,
        seed=seed.hex(),
        consensus=Consensus.TOTAL_ORDER if members else Consensus.PROOF_OF_WORK,
        learning=Learning.EVOLUTION if gradient is None else Learning.GRADIENT,
        task=task,
        evolution=evolution_for(strategy),
        gradient=gradient or GradientSection(),
        proof_of_work=ProofOfWorkSection(block_interval_ms=block_interval_ms, finality_depth=finality_depth),
        total_order=TotalOrderSection(members=members),
    )
    try:
        return parse_network_text(network_text(rules))
    except TomlProblem as problem:
        raise NodeError(str(problem), "choose what is allowed") from problem


def evolution_for(strategy: Strategy) -> EvolutionSection:
    """The measured presets: 90 % on digits after about 150 generations (comma) or 56 (recombination)."""
    match strategy:
        case Strategy.COMMA:
            return EvolutionSection(recipe_length_max=1, step_size_factor="0.998")
        case Strategy.RECOMBINATION:
            return EvolutionSection(recipe_length_max=16, step_size_factor="0.995")
