"""Scenario files, made in tests."""

from node.lab.scenarios.scenario import Scenario
from node.lab.scenarios.scenario_check import check
from node.lab.scenarios.scenario_file import parse_scenario

PLAIN = """
name = "plain"
consensus = "total-order"
learning = "evolution"
peers = 4
duration_s = 40
"""


def event(at_s: object, kind: str, **fields: object) -> str:
    return "\n".join(
        ("[[event]]", f"at_s = {at_s}", f'kind = "{kind}"', *(f"{name} = {value}" for name, value in fields.items()), "")
    )


def checked(text: str) -> Scenario:
    scenario = parse_scenario(text)
    check(scenario)
    return scenario
