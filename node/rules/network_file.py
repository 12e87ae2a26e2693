"""network.toml: the rules that all peers of one network share, and the id that they hash to.

No float is ever hashed: step sizes are decimal text, everything else is whole numbers and names.
"""

import hashlib
import re
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from consensus.total_order.committee import MEMBERS_MAX
from consensus.types import DIGEST_BYTES, NetworkId
from learning.rules.catalogue import RuleError, needs_scores, rule_named, rule_text
from learning.tasks.shards import parse_shards
from node.common.errors import MEND_FILE, NodeError, disk_error
from node.common.files import write_new_file
from node.common.invocation import command_text
from node.rules.strategy import Strategy
from node.rules.typed_toml import TomlProblem, parse, render

NETWORK_FILE_BYTES_MAX = 65_536
"""Ours take 3 kB; whatever is larger is another file."""

BLOCK_INTERVAL_MS_DEFAULT = 500
"""Long enough for a block to reach everybody on a fast network; slower links want some seconds."""

FINALITY_DEPTH_DEFAULT = 256
"""By docs/finality 30 % of the work needs more than a year to undo what lies deeper, at the default interval and difficulty,
even where a tenth of the honest blocks is stale. It takes two minutes until a block is final."""

PARAMETERS_MAX = 1_000_000_000
"""4 GB of float32: beyond it no peer of today could rebuild a child within a block interval."""

RuleFields = tuple[tuple[str, str], ...]
"""All rules, flat, in the file's order: (("name", "digits"), ("evolution.offspring", "64"), ...)."""

_ID_TAG = b"kubrat/network/1"

Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", title="64 hexadecimal digits (0-9, a-f)")]
DecimalText = Annotated[
    str, Meta(pattern=r"^[0-9]{1,4}(\.[0-9]{1,12})?\Z", title='a decimal number like "0.03", of at most 12 decimals')
]


class Consensus(StrEnum):
    """How peers agree on one order."""

    PROOF_OF_WORK = "proof-of-work"
    TOTAL_ORDER = "total-order"


class Learning(StrEnum):
    """How the next model is found."""

    EVOLUTION = "evolution"
    GRADIENT = "gradient"


class TaskSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is learned, and from which data; every peer checks its own data against the digest."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_.:-]{1,128}\Z",
            title='the name of a built-in task, or "module:attribute"',
            description='A built-in task, or "module:attribute" for one of your own.',
        ),
    ]
    data_digest: Annotated[Hex32, Meta(description="BLAKE2b-256 of all that the fitness depends on but the parameters.")]
    parameters: Annotated[int, Meta(ge=1, le=PARAMETERS_MAX, description="How many numbers the model has.")]


class EvolutionSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How candidates are made and judged."""

    offspring: Annotated[int, Meta(ge=2, le=65_536, description="λ: mutations tried at first in each generation.")] = 64
    recipe_length_max: Annotated[
        int, Meta(ge=1, le=32, description="How many mutations a child may combine; 1 is the published (1,λ)-search.")
    ] = 1
    step_size: Annotated[DecimalText, Meta(description="How far a mutation steps at the start.")] = "0.03"
    step_size_factor: Annotated[DecimalText, Meta(description="The step size is multiplied by this in every generation.")] = (
        "0.998"
    )
    step_size_floor: Annotated[DecimalText, Meta(description="The step size never falls below this.")] = "0.003"
    fitness_tolerance: Annotated[
        int, Meta(ge=0, le=10**9, description="Millionths of fitness by which two honest measurements may differ.")
    ] = 10
    regression_allowed: Annotated[
        int, Meta(ge=-1, le=10**12, description="Millionths by which a child may be worse than its parent; -1: by any amount.")
    ] = 0


class GradientSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How gradients are computed and judged; only for learning = "gradient"."""

    rule: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z-]{0,31}(:[a-z0-9_=.,-]{1,200})?\Z",
            title='a rule like "robust" or "kardam:frequency=off"',
            description="How gradients become steps of the model: robust, scored, kardam, buffered, dampened or mean; "
            "NAME or NAME:option=value,...",
        ),
    ] = "robust"
    learning_rate: Annotated[DecimalText, Meta(description="How far a step goes; each rule wants its own.")] = "2"
    momentum: Annotated[DecimalText, Meta(description="Of each worker's own gradients; 0: none.")] = "0.9"
    minibatch_size: Annotated[int, Meta(ge=1, le=65_536, description="Samples that one gradient is computed on.")] = 32
    bits: Annotated[int, Meta(ge=8, le=16, description="Bits per value of a gradient that travels: 8 or 16.")] = 16
    staleness_max: Annotated[
        int, Meta(ge=1, le=10_000, description="A gradient on a model that is older, in steps of the model, is refused.")
    ] = 200
    workers_window: Annotated[
        int,
        Meta(ge=1, le=256, description="Under proof of work: leading one of so many newest blocks is a voice."),
    ] = 64
    shards: Annotated[
        str,
        Meta(
            pattern=r"^(whole|iid|dirichlet:[0-9]{1,3}(\.[0-9]{1,4})?)\Z",
            title='"whole", "iid" or "dirichlet:ALPHA" with ALPHA from 0.01 to 100',
            description="Which training samples are a peer's own: all of them (whole), an equal part (iid), or a part whose "
            "classes are drawn unevenly (dirichlet:0.5; the smaller, the more unequal).",
        ),
    ] = "iid"
    shard_count: Annotated[
        int,
        Meta(ge=0, le=10_000, description="Into how many parts the samples are cut; 0: one for each member of a total order."),
    ] = 0


class ProofOfWorkSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How blocks are found and when they are final."""

    block_interval_ms: Annotated[int, Meta(ge=50, le=3_600_000, description="Mean time between blocks, in ms.")] = 500
    start_attempts: Annotated[
        int, Meta(ge=1, le=2**40, description="Puzzle attempts that the first block takes on average.")
    ] = 16
    puzzle_memory_kib: Annotated[
        int, Meta(ge=8, le=4_194_304, description="Memory of one puzzle attempt (Argon2id), in KiB.")
    ] = 8192
    half_life_blocks: Annotated[
        int, Meta(ge=2, le=10_000, description="Blocks late after which the difficulty halves (ASERT).")
    ] = 30
    finality_depth: Annotated[
        int,
        Meta(ge=2, le=512, description="Blocks on top after which a block is never undone; docs/finality says against whom."),
    ] = FINALITY_DEPTH_DEFAULT
    contest_depth: Annotated[
        int, Meta(ge=1, le=511, description="Blocks on top after which a contested block is accepted; below finality_depth.")
    ] = 6
    future_limit_ms: Annotated[
        int, Meta(ge=100, le=3_600_000, description="How far ahead of our clock a block's time may be, in ms.")
    ] = 5000
    minimum_work: Annotated[
        int,
        Meta(
            ge=0,
            le=2**63 - 1,
            description="Work that a chain must have to be the network's; no part of the id, so it can be raised later.",
        ),
    ] = 0


class TotalOrderSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who decides, and at what pace; only for consensus = "total-order"."""

    members: Annotated[
        tuple[str, ...],
        Meta(
            max_length=MEMBERS_MAX,
            title=f"a list of up to {MEMBERS_MAX} public keys, 64 hexadecimal digits each",
            description="The members' public keys, in the order that numbers them. Of n members, (n-1)/3 may be faulty.",
        ),
    ] = ()
    round_interval_ms: Annotated[
        int, Meta(ge=1, le=60_000, description="Least time between two blocks of one member, while there is something to say.")
    ] = 25
    idle_interval_ms: Annotated[int, Meta(ge=1, le=600_000, description="The same while there is nothing to say.")] = 1000
    gc_depth: Annotated[
        int, Meta(ge=3, le=1_000, description="Rounds below the last commit that are still ordered; older blocks are lost.")
    ] = 60
    delta_ms_min: Annotated[
        int,
        Meta(ge=1, le=60_000, description="Within so long a block is expected to arrive, in ms; grows while nothing commits."),
    ] = 250
    delta_ms_max: Annotated[int, Meta(ge=1, le=600_000, description="Up to this.")] = 10_000


class NetworkRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that two peers of one network must have in common."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}\Z",
            title="1 to 64 letters, digits, spaces, dots, dashes or underscores",
            description="What people call this network.",
        ),
    ]
    seed: Annotated[Hex32, Meta(description="Random: no two networks have the same id.")]
    consensus: Annotated[
        Consensus, Meta(description="How peers agree on one order: proof-of-work, or total-order among known members.")
    ]
    learning: Annotated[
        Learning,
        Meta(
            description="How the next model is found: evolution (no gradients needed), or gradient (for tasks that have one)."
        ),
    ]
    task: TaskSection
    evolution: EvolutionSection = EvolutionSection()
    gradient: GradientSection = GradientSection()
    proof_of_work: ProofOfWorkSection = ProofOfWorkSection()
    total_order: TotalOrderSection = TotalOrderSection()


# --- the id ---------------------------------------------------------------------------------------------------------

OF_EACH_PEER = ("proof_of_work.minimum_work",)
"""Fields that only say what a peer itself believes: how much work the network has is known once it has done it."""


def rule_fields(rules: NetworkRules) -> RuleFields:
    """The rules as (path, text) pairs, in the order of the file; what the network id is the hash of."""
    return tuple(field for field in _fields_of(rules, "") if field[0] not in OF_EACH_PEER)


def _fields_of(value: msgspec.Struct, prefix: str) -> Iterator[tuple[str, str]]:
    for name in value.__struct_fields__:
        item = getattr(value, name)
        if isinstance(item, msgspec.Struct):
            yield from _fields_of(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ",".join(item) if isinstance(item, tuple) else str(item)


def network_id(rules: NetworkRules) -> NetworkId:
    """BLAKE2b-256 over (length-prefixed tag, the MessagePack array of `rule_fields`)."""
    return network_id_of_fields(rule_fields(rules))


def is_stranger(rules: NetworkRules, peer_id: str) -> bool:
    """Whether this key, in hexadecimal, is none of the members', where there are some: it follows, and decides nothing."""
    return rules.consensus is Consensus.TOTAL_ORDER and peer_id not in rules.total_order.members


def finality_depth(rules: NetworkRules) -> int:
    """Blocks on top after which a block is never undone; 0 in a total order, where every step is final at once."""
    return rules.proof_of_work.finality_depth if rules.consensus is Consensus.PROOF_OF_WORK else 0


def network_id_of_fields(fields: RuleFields) -> NetworkId:
    """The id that these fields hash to: a peer that shows its fields cannot misstate them."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    hasher.update(bytes([len(_ID_TAG)]) + _ID_TAG + msgspec.msgpack.encode(fields))
    return NetworkId(hasher.digest())


def differences(ours: RuleFields, theirs: RuleFields) -> tuple[str, ...]:
    """One line for each field that differs: "evolution.offspring: ours 64, theirs 32"."""
    our_values, their_values = dict(ours), dict(theirs)
    paths = sorted(our_values.keys() | their_values.keys())
    return tuple(
        f"{path}: ours {our_values.get(path, 'missing')}, theirs {their_values.get(path, 'missing')}"
        for path in paths
        if our_values.get(path) != their_values.get(path)
    )


# --- the file -------------------------------------------------------------------------------------------------------


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
    """The rule's own options are looked at by `learning.rules.catalogue`, which knows them."""
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
