"""Scale at its smallest: runs that are remembered, formulas, tables and plots."""

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from node.lab.scenarios.scenario_check import check
from node.lab.studies import scale
from node.lab.studies.plots import ReproduceError
from node.lab.studies.scale import (
    CROWDS,
    MEMBERS,
    PARTS,
    reproduce_scale,
    share_interval,
    stale_expected,
)
from node.lab.studies.scale_runs import ScaleResult, ScaleRun, measure_all, scenario_of

pytestmark = pytest.mark.xdist_group("scale")  # they share what one of them has run

CROWD = ScaleRun(12, 20, 1_000)
COMMITTEE = ScaleRun(5, 8, crashed=1)
WHOLE = ScaleRun(4, 6)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scale")


@pytest.fixture(scope="module")
def results(out: Path) -> dict[ScaleRun, ScaleResult]:
    return measure_all([CROWD, COMMITTEE, WHOLE], out / "cells", 1, lambda _: None)


def test_a_crowd_agrees_and_its_blocks_spread(results: dict[ScaleRun, ScaleResult]) -> None:
    result = results[CROWD]
    assert (result.outcome, result.virtual_s, result.generations) == ("Pass", 20, 0)
    assert result.blocks >= result.height_max >= 5
    assert 20 < result.delay_ms_quantiles[9] < result.delay_ms_quantiles[18] < 2_000


def test_members_commit_within_a_second_or_two_and_do_without_one_that_crashed(results: dict[ScaleRun, ScaleResult]) -> None:
    result = results[COMMITTEE]
    assert (result.outcome, result.blocks) == ("Pass", 0)
    assert result.generations >= 2
    assert result.rounds >= 9 * result.generations / 2
    assert 100 < result.delay_ms_quantiles[9] < 2_000


def test_a_run_is_remembered_and_any_process_ends_it_alike(results: dict[ScaleRun, ScaleResult], tmp_path: Path) -> None:
    told: list[str] = []
    first = measure_all([COMMITTEE], tmp_path, 1, told.append)
    assert first[COMMITTEE].trace == results[COMMITTEE].trace
    assert measure_all([COMMITTEE], tmp_path, 1, told.append) == first
    assert [line.split(":")[0] for line in told] == [
        "1 runs, 0 of them remembered",
        "1/1 5 members, 1 of them crashed",
        "1 runs, 1 of them remembered",
    ]


def test_tables_and_plots_hold_what_was_measured(
    results: dict[ScaleRun, ScaleResult], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "CROWDS", (CROWD,))
    monkeypatch.setattr(scale, "MEMBERS", (COMMITTEE, WHOLE))
    told: list[str] = []
    reproduce_scale(out, 1, 1, PARTS, told.append)
    assert [line for line in told if "remembered" in line] == ["1 runs, 1 of them remembered", "2 runs, 2 of them remembered"]
    assert f"| {results[CROWD].blocks} " in (out / "crowds.md").read_text()
    assert f"{results[COMMITTEE].delay_ms_quantiles[9]} ms" in (out / "members.md").read_text()
    assert json.loads((out / "crowds.json").read_text())["rows"][0]["result"]["trace"] == results[CROWD].trace
    for name in ("stale", "spread", "commits"):
        assert ElementTree.parse(out / f"{name}.svg").getroot().tag.endswith("svg")


def test_the_stale_share_of_theory_takes_the_mean_delay_and_the_check(results: dict[ScaleRun, ScaleResult]) -> None:
    run, result = ScaleRun(12, 30, 1_000), replace(results[CROWD], delay_ms_mean=980.0)
    assert stale_expected(run, result) == pytest.approx(1 - 1 / math.e)


@pytest.mark.parametrize(
    ("share", "count", "interval"),
    [(0.0, 10, (0.0, 0.2775)), (0.5, 10, (0.2366, 0.7634)), (1.0, 10, (0.7225, 1.0)), (0.0, 0, (0.0, 1.0))],
)
def test_the_interval_of_a_share_is_wilson_s(share: float, count: int, interval: tuple[float, float]) -> None:
    """Values of Brown, Cai, DasGupta, "Interval estimation for a binomial proportion", 2001, for ten draws."""
    assert share_interval(share, count) == pytest.approx(interval, abs=1e-4)


def test_every_planned_run_is_a_scenario_and_remembered_by_itself() -> None:
    runs = (*CROWDS, *MEMBERS)
    for run in runs:
        check(scenario_of(run))
    assert len({run.key for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("seeds", "processes", "parts", "message"),
    [
        (1, 1, ("crowd",), "parts are crowd, allowed crowds, members"),
        (0, 1, PARTS, "seeds is 0 and processes 1, allowed 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    seeds: int, processes: int, parts: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ReproduceError, match=message):
        reproduce_scale(tmp_path, seeds, processes, parts, lambda _: None)
