"""The rules that all peers of one network share, and the id that they hash to.

No float is ever hashed: step sizes are decimal text, everything else is whole numbers and names.
"""

import hashlib
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from consensus.total_order.committee import MEMBERS_MAX
from consensus.types import DIGEST_BYTES, NetworkId, PeerId

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


def members_of(rules: NetworkRules) -> tuple[PeerId, ...]:
    """Of a total order; none under proof of work."""
    return tuple(PeerId(bytes.fromhex(key)) for key in rules.total_order.members)
