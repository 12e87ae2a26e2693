"""The threat model is true as far as a program can tell: every fault has its row, and what a row names exists."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from node.lab.faults.catalogue import FAULTS, Family
from node.lab.scenarios.events import EVENTS
from tests.node.lab.runs.test_faults_of_machines import TROUBLES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")

HEADINGS = {
    Family.CONSENSUS: "Consensus",
    Family.EVOLUTION: "Evolution",
    Family.GRADIENT: "Gradients",
    Family.NETWORK: "Network",
}
MACHINES, FURTHER = "The machine under a peer", "Further attacks"
SECTIONS = (*HEADINGS.values(), MACHINES, FURTHER)
OF_PEERS = {"misbehave"}
"""Kinds of events that are no fault of a machine: the peer takes up a fault of the catalogue."""

LETTERS = dict(re.findall(r"\*\*([A-Z])\*\* = `(tests/[a-z_/]+\.py)`", PAGE))
"""What each test file is called on the page."""

CITED_TEST = re.compile(r"(?:\b([A-Z])|`(tests/[a-z_/]+\.py)`)::(\w+)")


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(heading: str) -> list[dict[str, str]]:
    """Of the one table of a section, by column."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    columns, *others = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(cells) == len(columns) for cells in others), heading
    return [dict(zip(columns, cells, strict=True)) for cells in others[1:]]


ALL_ROWS = [pytest.param(row, id=f"{heading}, {next(iter(row.values()))}") for heading in SECTIONS for row in rows(heading)]


@cache
def functions_of(path: str) -> frozenset[str]:
    """The test functions at the top of a file, as pytest collects them."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def cited_tests(text: str) -> Iterator[tuple[str, str]]:
    for letter, path, name in CITED_TEST.findall(text):
        yield path or LETTERS[letter], name


@pytest.mark.parametrize("family", Family)
def test_every_fault_of_a_family_has_one_row_and_no_row_names_another(family: Family) -> None:
    named = [row["fault"] for row in rows(HEADINGS[family])]
    assert sorted(named) == sorted(f"`{fault.name}`" for fault in FAULTS if fault.family is family)


def test_the_rows_of_machines_are_what_the_simulations_play_and_cover_every_kind_of_event() -> None:
    machine_rows = rows(MACHINES)
    assert [row["fault"] for row in machine_rows] == list(TROUBLES)
    kinds = {row["fault"]: set(re.findall(r"`([a-z-]+)`", row["kinds"])) for row in machine_rows}
    assert set().union(*kinds.values()) == {*EVENTS} - OF_PEERS
    for name, trouble in TROUBLES.items():
        assert kinds[name] <= {timed.event.kind for timed in trouble.events}, name


@pytest.mark.parametrize("row", ALL_ROWS)
def test_a_row_names_files_and_tests_that_exist(row: dict[str, str]) -> None:
    assert all(row.values()), "an empty cell"
    for path in re.findall(r"`([a-z_/]+\.py)`", row["stopped by"]):
        assert (ROOT / path).is_file(), path
    for path, name in cited_tests(" ".join(row.values())):
        assert name in functions_of(path), f"{path}::{name}"


@pytest.mark.parametrize("heading", [heading for heading in SECTIONS if heading != FURTHER])
def test_every_fault_is_stopped_by_a_file_and_shown_by_a_test(heading: str) -> None:
    for row in rows(heading):
        assert re.search(r"`[a-z_/]+\.py`", row["stopped by"]), row
        assert list(cited_tests(row["shown by"])), row


def test_every_letter_stands_for_a_file_that_is_cited() -> None:
    used = {letter for letter, _, _ in CITED_TEST.findall(PAGE) if letter}
    assert used == set(LETTERS)
    assert len(set(LETTERS.values())) == len(LETTERS)


def test_every_citation_on_the_page_is_a_test() -> None:
    for path, name in cited_tests(PAGE):
        assert name in functions_of(path), f"{path}::{name}"
