"""The scenarios of the documentation are scenarios."""

from pathlib import Path

import pytest

from node.lab.scenarios.scenario import read_scenario
from node.lab.scenarios.scenario_check import check

FILES = sorted((Path(__file__).parents[4] / "docs" / "scenarios").glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_scenario_is_named_like_its_file_and_contradicts_nothing(path: Path) -> None:
    scenario = read_scenario(path)
    check(scenario)
    assert scenario.name.replace("-", "_") == path.stem
