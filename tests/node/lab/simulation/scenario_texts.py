"""Scenario files, made in tests."""

import json

from node.lab.scenarios.scenario import Scenario, parse_scenario
from node.lab.scenarios.scenario_check import check

PLAIN = """
name = "plain"
consensus = "total-order"
learning = "evolution"
peers = 4
duration_s = 40
"""


def event(at_s: object, kind: object, **fields: object) -> str:
    lines = (f"{name} = {value}" for name, value in fields.items())
    return "\n".join(("[[event]]", f"at_s = {at_s}", f"kind = {json.dumps(kind)}", *lines, ""))


def checked(text: str) -> Scenario:
    scenario = parse_scenario(text)
    check(scenario)
    return scenario
