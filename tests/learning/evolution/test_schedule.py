"""The step size by height."""

import decimal
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.evolution.schedule import ScheduleError, StepSizeSchedule
from learning.exact import round_factor

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "schedule.json"


@given(height=st.integers(min_value=0, max_value=400), thousandths=st.integers(min_value=900, max_value=1_000))
def test_the_step_size_is_the_exact_power_rounded_once(height: int, thousandths: int) -> None:
    exact = max(Fraction(3, 1000), Fraction(3, 100) * Fraction(thousandths, 1000) ** height)
    expected = round_factor(decimal.Context(prec=40).divide(Decimal(exact.numerator), Decimal(exact.denominator)))
    assert StepSizeSchedule("0.03", f"{thousandths / 1000}", "0.003").at(height) == expected


@given(height=st.integers(min_value=0, max_value=2**63))
def test_the_step_size_never_falls_below_its_floor(height: int) -> None:
    assert StepSizeSchedule("0.03", "0.998", "0.003").at(height) >= round_factor(Decimal("0.003"))


def test_the_ambient_decimal_context_changes_nothing() -> None:
    expected = StepSizeSchedule("0.029", "0.9971", "0.0031").at(100)
    with decimal.localcontext() as context:
        context.prec = 3
        assert StepSizeSchedule("0.0290", "0.9971", "0.0031").at(100) == expected


def test_the_step_sizes_are_those_of_the_first_release() -> None:
    schedule = StepSizeSchedule("0.03", "0.998", "0.003")
    sizes = {str(height): float(schedule.at(height)).hex() for height in (0, 1, 10, 100, 1_000, 10_000)}
    assert sizes == json.loads(VECTORS.read_text())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("big", "0.9", "0.1"), 'step_size is "big"; allowed is a decimal number'),
        (("nan", "0.9", "0.1"), 'step_size is "nan"; allowed is'),
        (("0", "0.9", "0.1"), 'step_size is "0"; allowed is 0.000000000001 to 10'),
        (("1", "1.01", "0.1"), 'step_size_factor is "1.01"; allowed is 0.5 to 1'),
        (("0.1", "0.9", "0.2"), 'step_size_floor is "0.2"; allowed is 0.000000000001 to 0.1'),
        (("0." + "1" * 60, "0.9", "0.2"), "step_size has 62 characters; allowed is up to 40"),
    ],
)
def test_a_schedule_out_of_range_names_the_field(fields: tuple[str, str, str], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        StepSizeSchedule(*fields)
