"""The rules that all peers of one network share, and the id that they hash to.

A section is the struct of the room that holds to it, with its defaults, ranges and comments.

No float is ever hashed: step sizes are decimal text, everything else is whole numbers and names.
"""

import hashlib
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from consensus.proof_of_work.rules import ChainRules
from consensus.total_order.committee import MEMBERS_MAX, TotalOrderRules
from consensus.types import DIGEST_BYTES, NetworkId, PeerId
from learning.evolution.rules import EvolutionRules, Strategy
from learning.gradient.rules import GradientRules
from learning.models.rules import UNCHANGED, ModelRules
from learning.tasks.shards import ShardKind
from node.rules.typed_toml import fields_of

PARAMETERS_MAX = 1_000_000_000
"""4 GB of float32: beyond it no peer of today could rebuild a child within a block interval."""

RuleFields = tuple[tuple[str, str], ...]
"""All rules, flat, in the file's order: (("name", "digits"), ("evolution.offspring", "64"), ...)."""

_ID_TAG = b"kubrat/network/1"

Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", title="64 hexadecimal digits (0-9, a-f)")]


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


class TotalOrderSection(TotalOrderRules, frozen=True):
    """Who decides, and at what pace; only for consensus = "total-order"."""

    members: Annotated[
        tuple[str, ...],
        Meta(
            max_length=MEMBERS_MAX,
            title=f"a list of up to {MEMBERS_MAX} public keys, 64 hexadecimal digits each",
            description="The members' public keys, in the order that numbers them. Of n members, (n-1)/3 may be faulty.",
        ),
    ] = ()


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
    model: ModelRules = UNCHANGED
    evolution: EvolutionRules = EvolutionRules()
    gradient: GradientRules = GradientRules()
    proof_of_work: ChainRules = ChainRules()
    total_order: TotalOrderSection = TotalOrderSection()


# --- the id ---------------------------------------------------------------------------------------------------------

OF_EACH_PEER = ("proof_of_work.minimum_work",)
"""Fields that only say what a peer itself believes: how much work the network has is known once it has done it."""


ADDED_LATER = frozenset(
    {
        ("evolution.strategy", Strategy.PLUS.value),
        ("evolution.shards", ShardKind.WHOLE.value),
        ("model.start", ""),
        ("model.start_digest", ""),
        ("model.trainable", ""),
        ("model.adapters", ""),
        ("model.adapter_rank", str(UNCHANGED.adapter_rank)),
        ("model.adapter_alpha", str(UNCHANGED.adapter_alpha)),
    }
)
"""Fields that older files lack, with what they mean there: where that is their value, the id is what it was."""


def rule_fields(rules: NetworkRules) -> RuleFields:
    """The rules as (path, text) pairs, in the order of the file; what the network id is the hash of."""
    return tuple(field for field in _fields_of(rules, "") if field[0] not in OF_EACH_PEER and field not in ADDED_LATER)


def _fields_of(value: msgspec.Struct, prefix: str) -> Iterator[tuple[str, str]]:
    for name in fields_of(type(value)):
        item = getattr(value, name)
        if isinstance(item, msgspec.Struct):
            yield from _fields_of(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ",".join(item) if isinstance(item, tuple) else str(item)


def network_id(rules: NetworkRules) -> NetworkId:
    """BLAKE2b-256 over (length-prefixed tag, the MessagePack array of `rule_fields`)."""
    return network_id_of_fields(rule_fields(rules))


def is_outsider(rules: NetworkRules, peer_id: str) -> bool:
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
