"""Who has which training samples: everybody all of them, or each peer a part of its own, alike or skewed by class.

Shards are local work: a peer computes on its own one, and nobody checks which that is. Peers with equal seeds and
equal versions of numpy agree on them, so together they hold every sample once.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

import numpy as np

from learning.exact import permutation, stream_key
from learning.task import DifferentiableTask, Float64Array, Int64Array, Minibatch, TaskError

SHARD_SAMPLES_MIN = 8
"""A peer with fewer would repeat itself four times in one minibatch of 32."""

ALPHA_MIN, ALPHA_MAX = Decimal("0.01"), Decimal(100)
"""At the one end nearly each class lies with a single peer; at the other, shards differ by a tenth: as good as iid."""

SHARDS_ALLOWED = f'"whole", "iid" or "dirichlet:ALPHA" with ALPHA {ALPHA_MIN} to {ALPHA_MAX}'


class ShardKind(StrEnum):
    """How the training data is split among the peers."""

    WHOLE = "whole"
    """Everybody has everything."""
    IID = "iid"
    """Equal parts, at random."""
    DIRICHLET = "dirichlet"
    """The classes are unequally spread over the parts."""


@dataclass(frozen=True, slots=True)
class Shards:
    """A way to split. `alpha`: only for DIRICHLET, the smaller the more skewed."""

    kind: ShardKind
    alpha: Decimal = Decimal(1)

    def __str__(self) -> str:
        """As the network file has it, in the one canonical form."""
        if self.kind is ShardKind.DIRICHLET:
            return f"{self.kind}:{format(self.alpha.normalize(), 'f')}"
        return self.kind.value


def parse_shards(text: str) -> Shards:
    """From the text of the network file. Raises ValueError with the value found and what is allowed."""
    if text in {ShardKind.WHOLE, ShardKind.IID}:
        return Shards(ShardKind(text))
    match = re.fullmatch(r"dirichlet:([0-9]{1,4}(?:\.[0-9]{1,12})?)", text, re.ASCII)
    if match is None or not ALPHA_MIN <= Decimal(match[1]) <= ALPHA_MAX:
        raise ValueError(f'shards is "{text[:70]}"; allowed is {SHARDS_ALLOWED}')
    return Shards(ShardKind.DIRICHLET, Decimal(match[1]))


def shard_of(author: bytes, members: tuple[bytes, ...], shard_count: int) -> tuple[int, int]:
    """Which shard is a peer's, out of how many: a member's is that of its number, elsewhere its key selects it.

    `shard_count` 0: one for each member.
    """
    count = shard_count or max(1, len(members))
    number = members.index(author) if author in members else int.from_bytes(author[:8], "big")
    return number % count, count


def rows_for(labels: Int64Array, shards: Shards, shard_count: int, shard_index: int, seed: bytes) -> Int64Array:
    """The training samples of one peer, ascending. `labels`: the class of each sample; `seed`: the network's id.

    Raises TaskError when there is no such shard, or the samples are too few for so many.
    """
    if not 0 <= shard_index < shard_count:
        raise TaskError(f"shard is {shard_index}, allowed 0..{shard_count - 1}")
    if shards.kind is ShardKind.WHOLE:
        return np.arange(len(labels), dtype=np.int64)
    if len(labels) < shard_count * SHARD_SAMPLES_MIN:
        raise TaskError(
            f'shards is "{shards}" for {shard_count} shards of {SHARD_SAMPLES_MIN} samples or more; the {len(labels)} training '
            f'samples allow {len(labels) // SHARD_SAMPLES_MIN}, or "{ShardKind.WHOLE}"'
        )
    if shards.kind is ShardKind.IID or (labels == labels[0]).all():  # one class cannot be skewed
        parts = np.array_split(permutation(seed, len(labels)), shard_count)
    else:
        parts = _skew(labels, float(shards.alpha), shard_count, seed)
    return np.sort(parts[shard_index])


def rows_of(author: bytes, members: tuple[bytes, ...], labels: Int64Array, shards: Shards, seed: bytes) -> Int64Array:
    """The training samples of one member of a total order, ascending: each member has a shard. Raises TaskError.

    Who is none of the members scores nothing, and measures for itself on all of them.
    """
    if author not in members:
        return np.arange(len(labels), dtype=np.int64)
    index, count = shard_of(author, members, 0)
    return rows_for(labels, shards, count, index, seed)


def _skew(labels: Int64Array, alpha: float, shard_count: int, seed: bytes) -> list[Int64Array]:
    """For each class, the shards' parts of it are drawn from Dir(alpha, ..., alpha).

    Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural Networks" (ICML 2019, section 4); the other way
    round, classes of a shard from Dir(alpha), is Hsu, Qi, Brown, arXiv 1909.06335.
    """
    generator = np.random.Generator(np.random.Philox(key=stream_key(b"kubrat/shards/1", seed)))
    order = permutation(seed, len(labels))
    parts: list[list[Int64Array]] = [[] for _ in range(shard_count)]
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        for part, own in zip(parts, np.split(rows, _cuts(generator, alpha, shard_count, len(rows))), strict=True):
            part.append(own)
    return _topped_up([np.concatenate(part) for part in parts])


def _cuts(generator: np.random.Generator, alpha: float, shard_count: int, samples: int) -> Int64Array:
    """Where the samples of one class are cut, ascending, (shard_count - 1,)."""
    shares: Float64Array = generator.dirichlet(np.full(shard_count, alpha))
    cuts: Int64Array = np.floor(np.cumsum(shares)[:-1] * samples + 0.5).astype(np.int64)
    return np.minimum(cuts, samples)


def _topped_up(parts: list[Int64Array]) -> list[Int64Array]:
    """Each part with at least SHARD_SAMPLES_MIN: what is missing comes from the part that is the largest by then."""
    for index in range(len(parts)):
        while len(parts[index]) < SHARD_SAMPLES_MIN:
            largest = max(range(len(parts)), key=lambda other: len(parts[other]))
            parts[index] = np.append(parts[index], parts[largest][-1])
            parts[largest] = parts[largest][:-1]
    return parts


class OwnSamples:
    """Draws from a peer's own rows of the training data, epoch after epoch, each in a random order of its own."""

    def __init__(self, task: DifferentiableTask, rows: Int64Array, seed: bytes) -> None:
        """`rows`: at least one, as of `learning.tasks.shards.rows_for`. `seed`: the peer's own; equal ones draw alike."""
        assert len(rows), "a peer without samples"
        self.rows = rows
        self._task = task
        self._seed = seed
        self._epoch = 0
        self._order = self._order_of(0)

    def draw(self, turn: int, size: int) -> Int64Array:
        """Rows number turn * size to (turn + 1) * size - 1 of the endless sequence of epochs, (size,).

        So each row comes once before any comes again, and a peer that restarts goes on by its turn alone.
        """
        assert turn >= 0, f"turn {turn}"
        assert size > 0, f"size {size}"
        drawn: list[Int64Array] = []
        first, last = turn * size, (turn + 1) * size
        while first < last:
            epoch, start = divmod(first, len(self.rows))
            part = self._rows_of(epoch)[start : start + last - first]
            drawn.append(part)
            first += len(part)
        return np.concatenate(drawn)

    def minibatch(self, turn: int, size: int) -> Minibatch:
        """The samples of `draw`."""
        return self._task.minibatch(self.draw(turn, size))

    def _rows_of(self, epoch: int) -> Int64Array:
        if epoch != self._epoch:  # one order is kept: of large data it takes longer than a small model's gradient
            self._epoch, self._order = epoch, self._order_of(epoch)
        return self._order

    def _order_of(self, epoch: int) -> Int64Array:
        ordered: Int64Array = self.rows[permutation(self._seed + epoch.to_bytes(8, "little"), len(self.rows))]
        return ordered
