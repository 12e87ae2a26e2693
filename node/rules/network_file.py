"""network.toml: the rules of a network as people read them and copy them from peer to peer."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from consensus.proof_of_work.rules import ChainRules
from learning.aggregation.catalogue import needs_scores, rule_text
from learning.evolution.rules import UNLIMITED, EvolutionRules, Strategy
from learning.gradient.rules import GradientRules
from learning.models.rules import UNCHANGED, ModelRules
from learning.tasks.shards import ShardKind, parse_shards
from node.common.errors import MEND_FILE, NodeError, disk_error
from node.common.files import write_new_file
from node.common.wording import command_text
from node.rules.network_rules import Consensus, Learning, NetworkRules, TaskSection, TotalOrderSection, network_id
from node.rules.typed_toml import TomlProblem, parse, render

DEFAULT_CHAIN = ChainRules()

ALL_MEASURE_ALIKE = "where all peers check one claim, and so must measure on the same samples"
"""Why there are no shards there."""

Section = TypeVar("Section", bound=msgspec.Struct)

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
    evolution = _with_decimals(rules.evolution, "step_size", "step_size_factor", "step_size_floor")
    return replace(rules, evolution=evolution, gradient=_with_decimals(rules.gradient, "learning_rate", "momentum"))


def _with_decimals(section: Section, *names: str) -> Section:
    return replace(section, **{name: format(Decimal(getattr(section, name)).normalize(), "f") for name in names})


def _with_canonical_rule(rules: NetworkRules) -> NetworkRules:
    """All options of the rule are in the id, so that no default can change what a network means; one way to share samples
    has one text.
    """
    if rules.learning is Learning.EVOLUTION:
        evolution = rules.evolution
        return replace(rules, evolution=replace(evolution, shards=str(parse_shards(evolution.shards))))
    gradient = rules.gradient
    rule, shards = rule_text(gradient.named_rule()), str(parse_shards(gradient.shards))
    return replace(rules, gradient=replace(gradient, rule=rule, shards=shards))


def _problems(rules: NetworkRules) -> Iterator[str]:
    """What no single section shows."""
    yield from _member_problems(rules)
    yield from _model_problems(rules)
    yield from _evolution_problems(rules)
    yield from _gradient_problems(rules)


def _model_problems(rules: NetworkRules) -> Iterator[str]:
    model = rules.model
    if bool(model.start) != bool(model.start_digest):
        given, missing = ("start", "start_digest") if model.start else ("start_digest", "start")
        yield f"model.{missing} is empty, but model.{given} is not; allowed is both or none"


def _evolution_problems(rules: NetworkRules) -> Iterator[str]:
    if rules.learning is Learning.EVOLUTION and rules.consensus is Consensus.PROOF_OF_WORK:
        shards = parse_shards(rules.evolution.shards)
        if shards.kind is not ShardKind.WHOLE:
            yield f'evolution.shards is "{shards}"; allowed is "{ShardKind.WHOLE}" under proof of work, {ALL_MEASURE_ALIKE}'


def _gradient_problems(rules: NetworkRules) -> Iterator[str]:
    gradient = rules.gradient
    if rules.learning is not Learning.GRADIENT or rules.consensus is not Consensus.PROOF_OF_WORK:
        return
    if gradient.shards != "whole" and gradient.shard_count == 0:
        yield 'gradient.shard_count is 0; allowed is 1 or more under proof of work, unless gradient.shards is "whole"'
    if needs_scores(gradient.rule):
        yield 'gradient.rule is "scored", which needs members who score: allowed where consensus is "total-order"'


def _member_problems(rules: NetworkRules) -> Iterator[str]:
    members = rules.total_order.members
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


# --- new networks ---------------------------------------------------------------------------------------------------


def new_rules(
    name: str,
    seed: bytes,
    task: TaskSection,
    strategy: Strategy,
    *,
    block_interval_ms: int = DEFAULT_CHAIN.block_interval_ms,
    finality_depth: int = DEFAULT_CHAIN.finality_depth,
    members: tuple[str, ...] = (),
    gradient: GradientRules | None = None,
    shards: str = ShardKind.WHOLE.value,
    model: ModelRules = UNCHANGED,
) -> NetworkRules:
    """The rules of a new network; `seed` is 32 random bytes. With members (keys in hex): of a total order among them.

    With `gradient`: a network that learns by gradients. `shards`: where it learns by evolution.
    `model`: what is changed about the task's model.

    Raises NodeError when a value is not allowed.
    """
    try:
        rules = NetworkRules(
            name=name,
            seed=seed.hex(),
            consensus=Consensus.TOTAL_ORDER if members else Consensus.PROOF_OF_WORK,
            learning=Learning.EVOLUTION if gradient is None else Learning.GRADIENT,
            task=task,
            model=model,
            evolution=replace(evolution_for(strategy), shards=shards),
            gradient=gradient or GradientRules(),
            proof_of_work=ChainRules(block_interval_ms=block_interval_ms, finality_depth=finality_depth),
            total_order=TotalOrderSection(members=members),
        )
        return parse_network_text(network_text(rules))
    except ValueError as problem:
        raise NodeError(str(problem), "choose what is allowed") from problem


def evolution_for(strategy: Strategy) -> EvolutionRules:
    """The measured presets."""
    match strategy:
        case Strategy.JOINT:
            return EvolutionRules(strategy=strategy, step_size_factor="1", step_size_floor="0.03")
        case Strategy.COMMA:
            return EvolutionRules(strategy=strategy, step_size_factor="0.998", regression_allowed=UNLIMITED)
        case Strategy.PLUS:
            return EvolutionRules(strategy=strategy, step_size_factor="0.998")
        case Strategy.RECOMBINATION:
            return EvolutionRules(strategy=strategy, recipe_length_max=16, step_size_factor="0.995")
