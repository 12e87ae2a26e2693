"""The step size by height: sigma(h) = max(floor, sigma_0 * factor**h), in decimal arithmetic, rounded once to 16 bits.

Section 3 of docs/protocol.md.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import lru_cache

import numpy as np

from learning.exact import round_factor

DECIMAL = Context(prec=50, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999, traps=[InvalidOperation])
"""Our own context, so that nobody's ambient one can change a digit; 50 digits leave 45 beyond what 16 bits show."""

STEP_SIZE_MIN, STEP_SIZE_MAX = Decimal("1e-12"), Decimal(10)
"""A wider range than any float32 model needs, far inside what `round_factor` takes."""

FACTOR_MIN = Decimal("0.5")

SCHEDULE_CHARACTERS_MAX = 40
"""A decimal of more digits than the arithmetic carries is a mistake."""


STEP_SIZES_KEPT = 1_024
"""By height: more than a reorganisation could ask for again."""


class ScheduleError(ValueError):
    """A field of the step-size schedule is not a number, or out of range; the message names it."""


class StepSizeSchedule:
    """sigma by height, from the decimal strings of the network's rules."""

    def __init__(self, step_size: str, factor: str, floor: str) -> None:
        """Raises ScheduleError naming the field, the value found and the range allowed."""
        self._first = _parse("step_size", step_size, STEP_SIZE_MIN, STEP_SIZE_MAX)
        self._factor = _parse("step_size_factor", factor, FACTOR_MIN, Decimal(1))
        self._floor = _parse("step_size_floor", floor, STEP_SIZE_MIN, self._first)

    def at(self, height: int) -> np.float32:
        """The step size of the mutations of a parent at `height`; at most 16 significant bits."""
        return _step_size(self._first, self._factor, self._floor, height)


@lru_cache(maxsize=STEP_SIZES_KEPT)
def _step_size(first: Decimal, factor: Decimal, floor: Decimal, height: int) -> np.float32:
    decayed = DECIMAL.multiply(first, _power(factor, height))
    return round_factor(max(floor, decayed))


def _power(base: Decimal, exponent: int) -> Decimal:
    """By squaring: each product is rounded as the decimal specification says, where `Decimal.__pow__` leaves it open."""
    result = Decimal(1)
    while exponent:
        if exponent & 1:
            result = DECIMAL.multiply(result, base)
        base = DECIMAL.multiply(base, base)
        exponent >>= 1
    return result


def _parse(field: str, text: str, lowest: Decimal, highest: Decimal) -> Decimal:
    try:
        value = DECIMAL.create_decimal(text[:SCHEDULE_CHARACTERS_MAX])
    except InvalidOperation as error:
        raise ScheduleError(f'{field} is "{text}"; allowed is a decimal number such as "0.03"') from error
    if len(text) > SCHEDULE_CHARACTERS_MAX:
        raise ScheduleError(f"{field} has {len(text)} characters; allowed is up to {SCHEDULE_CHARACTERS_MAX}")
    if not value.is_finite() or not lowest <= value <= highest:
        raise ScheduleError(f'{field} is "{text}"; allowed is {lowest:f} to {highest:f}')
    return value
