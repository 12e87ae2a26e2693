"""The table of what attackers cost: its rows exist, and a goal that is missed is an exit code. `make bench` measures them."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from learning.evolution.rules import Strategy
from node.lab.faults.catalogue import Family, fault_named, parse_faults
from node.lab.simulation.swarm.plan import fitting_faults
from node.rules.network_rules import Consensus, Learning

FOLDER = Path(__file__).parents[1] / "benchmarks"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hostile() -> ModuleType:
    return loaded("hostile")


@pytest.fixture(scope="module")
def values() -> ModuleType:
    return loaded("hostile_values")


def test_every_row_has_an_attacker_or_a_stage(hostile: ModuleType, values: ModuleType) -> None:
    attacker = loaded("hostile_attacker")
    assert {row.kind for row in hostile.ROWS} <= {*attacker.VISITS, attacker.DOORSTEP}
    assert [row.name for row in hostile.VALUES] == list(values.VALUES)
    names = [row.name for row in (*hostile.ROWS, *hostile.VALUES)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("value", "code"), [(29.0, 0), (31.0, 1), (None, 0)])
def test_a_value_above_its_goal_is_an_exit_code(
    hostile: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float | None, code: int
) -> None:
    monkeypatch.setattr(hostile, "measure_value", lambda row: {"name": row.name, "value": value, "detail": "seen"})
    monkeypatch.setattr(sys, "argv", ["hostile.py", "--only", "bodiless-lead-in-memory", "--json"])
    assert hostile.main() == code
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line[:3].strip() for line in lines] == [{0: "ok", 1: "BAD"}[code] if value is not None else "--", ""]
    assert json.loads(last) == [{"name": "bodiless-lead-in-memory", "value": value, "detail": "seen"}]


@pytest.mark.parametrize(("ratio", "log_growth", "code"), [(0.9, 0, 0), (0.7, 0, 1), (0.9, 5_000, 1)])
def test_a_ratio_below_its_goal_or_a_log_that_grows_is_an_exit_code(
    hostile: ModuleType, monkeypatch: pytest.MonkeyPatch, ratio: float, log_growth: int, code: int
) -> None:
    result = {"control": 10.0, "attacked": 10 * ratio, "ratio": ratio, "lag_ms": 9.0, "log_growth": log_growth, "attackers": ""}
    monkeypatch.setattr(hostile, "measure", lambda row, *_: {"name": row.name, **result})
    monkeypatch.setattr(sys, "argv", ["hostile.py", "--only", "log"])
    assert hostile.main() == code


def test_stages_in_memory_are_within_their_goals(hostile: ModuleType, values: ModuleType) -> None:
    """The quick one; the tests that hold the others run their stages."""
    (row,) = (row for row in hostile.VALUES if row.name == "bodiless-lead-in-memory")
    value, _ = values.VALUES[row.name]()
    assert 0 < value <= row.most


def test_the_table_of_liars_has_every_fault_that_a_joint_network_can_have() -> None:
    named = {spec.name for text in loaded("joint_liars").FAULTS for spec in parse_faults(text)}
    kinds = Consensus.TOTAL_ORDER, Learning.EVOLUTION, Strategy.JOINT
    fitting = {name for name in fitting_faults(*kinds) if fault_named(name).family is Family.EVOLUTION}
    assert named == fitting
