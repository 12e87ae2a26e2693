"""The pages and the code name each other as they are: files, folders, and sections of the protocol."""

import re
from pathlib import Path

import pytest

from tests.pages import ROOT, page

SECTIONS = set(re.findall(r"^## (\d+)\.", page("docs/protocol.md"), re.MULTILINE))
CITED_SECTION = re.compile(r"(?:[Ss]ection (\d+) of docs/protocol\.md|docs/protocol\.md,? (?:section )?(\d+))")


def linked_paths() -> list[object]:
    """Of each page of the project: the files and folders that it links, and that it names in backticks."""
    found = []
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        text = path.read_text(encoding="utf-8")
        links = {(path.parent, link) for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)}
        named = {(ROOT, name) for name in re.findall(r"`((?:consensus|learning|node|tests|benchmarks|docs)/[\w./-]*)`", text)}
        found += [pytest.param(base / name, id=f"{path.name}: {name}") for base, name in sorted(links | named)]
    return found


@pytest.mark.parametrize("path", linked_paths())
def test_what_a_page_names_exists(path: Path) -> None:
    assert path.exists()


def cited_sections(room: str) -> set[str]:
    """The sections of the protocol that the modules of a room name."""
    texts = (path.read_text(encoding="utf-8") for path in sorted((ROOT / room).rglob("*.py")))
    return {number for text in texts for found in CITED_SECTION.findall(text) for number in found if number}


def test_every_section_that_is_cited_exists_and_those_of_learning_are() -> None:
    assert cited_sections("consensus") | cited_sections("learning") | cited_sections("node") <= SECTIONS
    assert cited_sections("learning") >= {"3", "4", "6", "7"}
