"""The comparison at its smallest: files that hold what was measured, and runs that are remembered."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from learning.aggregation.catalogue import rule_named
from node.lab.faults.catalogue import parse_fault
from node.lab.studies.cells import ATTACKS, DEFENCES, KARDAM, Cell, part_i_cells, part_ii_cells, part_iv_cells, run_cell
from node.lab.studies.kardam import PARTS, judge_times, reproduce_kardam
from node.lab.studies.plots import Line, ReproduceError, line_plot, markdown_table

SMALL = Cell("mean", "0.15", 0, deliveries=40)


def test_a_run_is_remembered_and_not_run_again(tmp_path: Path) -> None:
    told: list[str] = []
    first = KARDAM.results([SMALL, SMALL], tmp_path, 1, told.append)
    again = KARDAM.results([SMALL], tmp_path, 1, told.append)
    assert first == again == {SMALL: run_cell(SMALL)}
    assert [line.split(",")[0] for line in told] == ["1 runs", "1/1 mean", "1 runs"]
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["cell"]["rule"] == "mean"


def test_what_is_remembered_belongs_to_one_cell_alone() -> None:
    cells = [SMALL, replace(SMALL, seed=1), replace(SMALL, fault="silent"), replace(SMALL, drawn_staleness=(6.0, 2.0))]
    assert len({cell.key for cell in cells}) == len(cells)


def test_drawn_staleness_is_that_of_the_draw() -> None:
    result = run_cell(replace(SMALL, deliveries=200, drawn_staleness=(6.0, 2.0), momentum=0.0))
    assert 5.4 < result.staleness_mean < 6.2


def test_every_planned_cell_names_a_rule_and_a_fault() -> None:
    groups = [part_i_cells(1), part_ii_cells(1), part_iv_cells(1)]
    cells = [cell for group in groups for cells in group.values() for cell in cells]
    assert len(cells) == 12 + 24 + len(DEFENCES) * (1 + 2 * len(ATTACKS))
    for cell in cells:
        assert rule_named(cell.rule).name in {*DEFENCES}
        assert not cell.fault or str(parse_fault(cell.fault)).startswith(cell.fault.split(":")[0])


@pytest.mark.parametrize(
    ("seeds", "processes", "parts", "message"),
    [
        (1, 1, (), "parts are none, allowed filters, dampening, overhead, attacks"),
        (1, 1, ("filters", "speed"), "parts are speed, allowed filters"),
        (0, 1, PARTS, "seeds is 0 and processes 1, allowed 1 or more"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(
    seeds: int, processes: int, parts: tuple[str, ...], message: str, tmp_path
) -> None:
    with pytest.raises(ReproduceError, match=message):
        reproduce_kardam(tmp_path, seeds, processes, parts, print)


def test_the_judge_is_timed_for_each_rule() -> None:
    found = judge_times(("mean", "robust", "kardam"), 1_000)
    assert [(one.rule, one.parameters) for one in found] == [("mean", 1_000), ("robust", 1_000), ("kardam", 1_000)]
    assert all(0 < one.milliseconds < 1_000 for one in found)


def test_a_plot_is_well_formed_and_holds_each_line() -> None:
    lines = [
        Line("a < b", ((0.0, 1.0), (1.0, 2.0))),
        Line("bound", ((0.0, 1.0), (1.0, 1.0)), is_dashed=True),
        Line("empty", ()),
    ]
    root = ElementTree.fromstring(line_plot("title", "x", "y", lines))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text") if element.text is not None]
    assert {"title", "x", "y", "a < b", "bound"} <= {*texts}
    assert "empty" not in texts
    curves = [group.get("id", "") for group in root.iter("{http://www.w3.org/2000/svg}g")]
    assert line_plot("title", "x", "y", lines) == line_plot("title", "x", "y", lines)
    assert sum(name.startswith("line2d_") for name in curves) >= 2


def test_a_table_is_aligned_markdown() -> None:
    assert markdown_table(("rule", "n"), [("mean", "16")]) == "| rule | n  |\n| ---- | -- |\n| mean | 16 |\n"
