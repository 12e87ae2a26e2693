"""What all peers of a network agree on about gradients: the network file's section, checked."""

from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from learning.aggregation.catalogue import RuleError, rule_named
from learning.aggregation.rule import AggregationRule
from learning.exact import DecimalText, round_factor
from learning.gradient.ledger import LedgerRules
from learning.gradient.worker import WorkerSettings
from learning.tasks.shards import SHARDS_ALLOWED, parse_shards

LEARNING_RATE_MAX = 100
"""A gradient is at most a few units long where a model learns at all."""

CHECK_SHARE = 4
"""A quarter of a block interval is for the check of a block. Simulated: who has a third of the work and blocks that take others
an interval to check leads 44 in 100 of the blocks that count, with two of them 62, with four all; with a quarter 36."""

CHECK_MS_MAX_DEFAULT = 125
"""Of half a second."""


def check_ms_max(block_interval_ms: int) -> int:
    """How long a core may take to check a block, in ms, where blocks come at this interval; all peers agree on it."""
    return max(1, block_interval_ms // CHECK_SHARE)


class GradientRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How gradients are computed and judged; only for learning = "gradient".

    Raises ValueError for what no range shows; ranges are checked where the rules are read.
    """

    rule: Annotated[
        str,
        Meta(
            title='a rule like "robust" or "kardam:frequency=off"',
            description="How gradients become steps of the model: robust, scored, kardam, buffered, dampened or mean; "
            "NAME or NAME:option=value,...",
        ),
    ] = "robust"
    learning_rate: Annotated[DecimalText, Meta(description="How far a step goes; each rule wants its own.")] = "2"
    """What the agreed arithmetic uses of it is rounded to 16 significant bits."""
    momentum: Annotated[DecimalText, Meta(description="Of each worker's own gradients; 0: none.")] = "0.9"
    minibatch_size: Annotated[int, Meta(ge=1, le=65_536, description="Samples that one gradient is computed on.")] = 32
    """More samples make no better gradient than a step that is taken earlier."""
    bits: Annotated[int, Meta(ge=8, le=16, description="Bits per value of a gradient that travels: 8 or 16.")] = 16
    staleness_max: Annotated[
        int, Meta(ge=1, le=10_000, description="A gradient on a model that is older, in steps of the model, is refused.")
    ] = 200
    """Ten thousand digests of past models are 320 kB of the agreed state, and a millisecond or two of every block's check."""
    workers_window: Annotated[
        int, Meta(ge=1, le=256, description="Under proof of work: leading one of so many newest blocks is a voice.")
    ] = 64
    """Each leader may be another worker: `robust` compares all workers with one another, 0.1 s for 256."""
    shards: Annotated[
        str,
        Meta(
            title=SHARDS_ALLOWED,
            description="Which training samples are a peer's own: all of them (whole), an equal part (iid), or a part whose "
            "classes are drawn unevenly (dirichlet:0.5; the smaller, the more unequal).",
        ),
    ] = "iid"
    shard_count: Annotated[
        int,
        Meta(ge=0, le=10_000, description="Into how many parts the samples are cut; 0: one for each member of a total order."),
    ] = 0

    def __post_init__(self) -> None:
        self.named_rule()
        if not 0 < Decimal(self.learning_rate) <= LEARNING_RATE_MAX:
            raise ValueError(f'learning_rate is "{self.learning_rate}"; allowed is above 0, up to {LEARNING_RATE_MAX}')
        if not 0 <= Decimal(self.momentum) < 1:
            raise ValueError(f'momentum is "{self.momentum}"; allowed is 0 or more, below 1')
        if self.bits not in {8, 16}:
            raise ValueError(f"bits is {self.bits}; allowed is 8 or 16")
        parse_shards(self.shards)

    def named_rule(self) -> AggregationRule:
        """The rule itself. Raises ValueError."""
        try:
            return rule_named(self.rule)
        except RuleError as error:
            raise ValueError(f"rule: {error}") from error

    def ledger_rules(self) -> LedgerRules:
        """What the agreed arithmetic needs."""
        return LedgerRules(round_factor(Decimal(self.learning_rate)), self.staleness_max, self.bits)

    def worker_settings(self) -> WorkerSettings:
        """What a worker needs."""
        return WorkerSettings(self.minibatch_size, float(self.momentum), self.bits)
