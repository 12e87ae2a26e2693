import re
from pathlib import Path

import pytest

import node
from node.common.wording import agreeing, counted, duration


@pytest.mark.parametrize(("number", "told"), [(0, "0 peers"), (1, "1 peer"), (2, "2 peers"), (1_234, "1,234 peers")])
def test_a_count_agrees_with_its_noun(number: int, told: str) -> None:
    assert counted(number, "peer") == told


def test_verbs_agree_too() -> None:
    assert [agreeing(number, "is") for number in (0, 1, 2)] == ["are", "is", "are"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (19, "19 s"), (119, "119 s"), (130, "2 min"), (7_100, "118 min"), (10_000, "2 h"), (400_000, "4 days")],
)
def test_a_duration_is_told_in_the_unit_that_fits(seconds: float, told: str) -> None:
    assert duration(seconds) == told


NOUNS = "peers|members|blocks|commits|payloads|generations|steps|rounds|slots|links|connections|events|addresses"


def test_what_people_read_counts_with_one_helper() -> None:
    """Nowhere else is a figure put before a plural, which would say "1 peers" one day."""
    room = Path(node.__file__).parent
    read = [*(room / "cli").glob("*.py"), *(room / "testnet").glob("*.py"), *room.glob("*.py")]
    figure = re.compile(rf'f"[^"]*(?<!of )\{{(?!counted)[^{{}}]*\}} (?:{NOUNS})\b|%[ds] (?:{NOUNS})\b')
    found = [f"{path.name}: {line.strip()}" for path in read for line in path.read_text().splitlines() if figure.search(line)]
    assert found == []
