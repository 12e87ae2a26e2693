"""What all peers of a network agree on about gradients: the network file's section, checked."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from learning.aggregation.catalogue import RuleError, rule_named
from learning.aggregation.rule import AggregationRule
from learning.exact import round_factor
from learning.gradient.ledger import LedgerRules
from learning.gradient.worker import WorkerSettings
from learning.task import TaskError
from learning.tasks.shards import parse_shards

LEARNING_RATE_MAX = 100
"""A gradient is at most a few units long where a model learns at all."""

MINIBATCH_LIMIT = 65_536
"""More samples make no better gradient than a step that is taken earlier."""

STALENESS_LIMIT = 10_000
"""So many digests of past models are 320 kB of the agreed state, and a millisecond or two of every block's check."""

WORKERS_WINDOW_LIMIT = 256
"""Leaders remembered, and each may be another worker: `robust` compares all workers with one another, 0.1 s for so many."""

SHARDS_LIMIT = 10_000

CHECK_SHARE = 4
"""A quarter of a block interval is for the check of a block. Simulated: who has a third of the work and blocks that take others
an interval to check leads 44 in 100 of the blocks that count, with two of them 62, with four all; with a quarter 36."""

CHECK_MS_MAX_DEFAULT = 125
"""Of half a second."""

CHECK_MS_LIMIT = 900_000
"""A quarter of the longest block interval."""


def check_ms_max(block_interval_ms: int) -> int:
    """How long a core may take to check a block, in ms, where blocks come at this interval; all peers agree on it."""
    return max(1, block_interval_ms // CHECK_SHARE)


class RulesError(ValueError):
    """A field is out of range; the message names it, the value found and the range allowed."""


@dataclass(frozen=True, slots=True)
class GradientRules:
    """Network-visible rules. Raises RulesError."""

    rule: str
    """How gradients become steps, as `learning.aggregation.catalogue` reads it: "robust", "kardam:frequency=off"."""
    learning_rate: str
    """Decimal; what the agreed arithmetic uses of it is rounded to 16 significant bits."""
    momentum: str
    """Of each worker's own gradients; decimal, from 0 to below 1."""
    minibatch_size: int
    """Samples that one gradient is computed on."""
    bits: int
    """Per value of a gradient that travels: 8 or 16."""
    staleness_max: int
    """Gradients on a model that is older, in versions, are refused."""
    workers_window: int
    """Under proof of work: a worker is who led one of so many newest blocks, with a voice for each."""
    shards: str
    """Which samples are a peer's own, as `learning.tasks.shards` reads it: "whole", "iid", "dirichlet:0.5"."""
    shard_count: int
    """Parts that the samples are cut into; 0: one for each member."""
    check_ms_max: int = CHECK_MS_MAX_DEFAULT
    """Under proof of work: about so long a core may take to check a block, which bounds how much it may list."""

    def __post_init__(self) -> None:
        self.named_rule()
        self.ledger_rules()
        if not 0 <= _decimal("momentum", self.momentum) < 1:
            raise RulesError(f'momentum is "{self.momentum}", allowed is 0 or more, below 1')
        _require("minibatch_size", self.minibatch_size, 1, MINIBATCH_LIMIT)
        if self.bits not in {8, 16}:
            raise RulesError(f"bits is {self.bits}, allowed 8 or 16")
        _require("staleness_max", self.staleness_max, 1, STALENESS_LIMIT)
        _require("workers_window", self.workers_window, 1, WORKERS_WINDOW_LIMIT)
        try:
            parse_shards(self.shards)
        except TaskError as error:
            raise RulesError(str(error)) from error
        _require("shard_count", self.shard_count, 0, SHARDS_LIMIT)
        _require("check_ms_max", self.check_ms_max, 1, CHECK_MS_LIMIT)

    def named_rule(self) -> AggregationRule:
        """The rule itself."""
        try:
            return rule_named(self.rule)
        except RuleError as error:
            raise RulesError(f'rule is "{self.rule}": {error}') from error

    def ledger_rules(self) -> LedgerRules:
        """What the agreed arithmetic needs."""
        learning_rate = _decimal("learning_rate", self.learning_rate)
        if not 0 < learning_rate <= LEARNING_RATE_MAX:
            raise RulesError(f'learning_rate is "{self.learning_rate}", allowed is above 0, up to {LEARNING_RATE_MAX}')
        try:
            return LedgerRules(round_factor(learning_rate), self.staleness_max, self.bits)
        except ValueError as error:
            raise RulesError(f'learning_rate is "{self.learning_rate}": {error}') from error

    def worker_settings(self) -> WorkerSettings:
        """What a worker needs."""
        return WorkerSettings(self.minibatch_size, float(_decimal("momentum", self.momentum)), self.bits)


def _decimal(field: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise RulesError(f'{field} is "{text}", allowed is a decimal number') from error
    if not value.is_finite():
        raise RulesError(f'{field} is "{text}", allowed is a finite decimal number')
    return value


def _require(field: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise RulesError(f"{field} is {value}, allowed {lowest}..{highest}")
