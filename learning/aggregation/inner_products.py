"""Exact inner products of the gradients in the slots, as integers of one unit, remembered while both are in their slots."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from learning.aggregation.quantised import EXPONENT_MIN, QuantisedGradient, Values

UNIT_EXPONENT = 2 * EXPONENT_MIN
"""Products are counted in units of 2**-200: that of the two smallest values."""

CHUNK_VALUES = 1 << 13
"""Multiplied at once per gradient: sixteen of them are 1 MiB in float64, which stay in a core's own cache."""


@dataclass(slots=True)
class ProductTable:
    """Remembers products by the digests of both gradients, so it can neither be stale nor differ between peers."""

    rows: dict[bytes, dict[bytes, int]] = field(default_factory=dict)
    """Square: a row for each gradient that is known, with an entry for each of them."""

    def of(self, gradients: Sequence[QuantisedGradient]) -> list[list[int]]:
        """The matrix of all inner products, in units of 2**UNIT_EXPONENT. Forgets all gradients but these."""
        wanted = [gradient.digest for gradient in gradients]
        self._forget_all_but(frozenset(wanted))
        for gradient in gradients:
            if gradient.digest not in self.rows:
                self._add(gradient, gradients)
        return [[self.rows[one][other] for other in wanted] for one in wanted]

    def _forget_all_but(self, wanted: frozenset[bytes]) -> None:
        for gone in [digest for digest in self.rows if digest not in wanted]:
            del self.rows[gone]
            for row in self.rows.values():
                del row[gone]

    def _add(self, gradient: QuantisedGradient, gradients: Sequence[QuantisedGradient]) -> None:
        known = [other for other in gradients if other.digest in self.rows]
        products = inner_units(gradient, [*known, gradient])
        for other, product in zip(known, products, strict=False):
            self.rows[other.digest][gradient.digest] = product
        own = (*(other.digest for other in known), gradient.digest)
        self.rows[gradient.digest] = dict(zip(own, products, strict=True))


def inner_units(gradient: QuantisedGradient, others: Sequence[QuantisedGradient]) -> list[int]:
    """The exact inner product with each of the others, in units of 2**UNIT_EXPONENT.

    A chunk's sum of 2**13 products below 2**30 is an integer below 2**53: float64 BLAS gives it in any order.
    """
    totals = [0] * len(others)
    first = 0
    for block, size in enumerate(gradient.sizes):
        sums = _integer_sums(gradient.values[first : first + size], [other.values[first : first + size] for other in others])
        shifts = [gradient.exponents[block] + other.exponents[block] - UNIT_EXPONENT for other in others]
        totals = [total + (part << shift) for total, part, shift in zip(totals, sums, shifts, strict=True)]
        first += size
    return totals


def _integer_sums(values: Values, others: Sequence[Values]) -> list[int]:
    sums = [0] * len(others)
    rows = np.empty((len(others), min(CHUNK_VALUES, len(values))), dtype=np.float64)
    for start in range(0, len(values), CHUNK_VALUES):
        own = values[start : start + CHUNK_VALUES].astype(np.float64)
        part = rows[:, : len(own)]
        for row, other in zip(part, others, strict=True):
            row[:] = other[start : start + CHUNK_VALUES]
        sums = [total + int(product) for total, product in zip(sums, (part @ own).tolist(), strict=True)]
    return sums
