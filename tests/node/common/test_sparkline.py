import pytest

from node.common.sparkline import SPARK_WIDTH, sparkline


@pytest.mark.parametrize(
    ("values", "shown"), [((), ""), ((0.1,), ""), ((0.0, 0.5, 1.0), "▁▅█"), ((1.0, 0.0), "█▁"), ((2.0, 2.0), "▁▁")]
)
def test_a_sparkline_goes_from_the_lowest_bar_to_the_highest(values: tuple[float, ...], shown: str) -> None:
    assert sparkline(values) == shown


def test_a_long_history_has_a_short_sparkline_that_ends_with_the_newest() -> None:
    shown = sparkline([*range(1_000), 2_000])
    assert len(shown) == SPARK_WIDTH
    assert shown[0] == "▁"
    assert shown[-1] == "█"
