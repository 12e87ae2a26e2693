"""The table "Still to rename" is about the code as it is: a name that is gone leaves it, and no new name is taken."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
CLASSES = re.findall(r"^\| (\S+\.\S+) \| (\S+) \|$", PAGE, re.MULTILINE)


@cache
def classes_of(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.ClassDef))


@cache
def room_of_class(name: str) -> frozenset[Path]:
    """The modules of the shipped code that define a class of this name."""
    paths = (path for room in ("consensus", "learning", "node") for path in (ROOT / room).rglob("*.py"))
    return frozenset(path for path in paths if name in classes_of(path))


def folder_of(old: str) -> Path:
    return ROOT / old.rpartition(".")[0].replace(".", "/")


@pytest.mark.parametrize(("old", "new"), CLASSES)
def test_a_class_to_rename_is_there(old: str, new: str) -> None:
    modules = [path for path in folder_of(old).glob("*.py") if old.rpartition(".")[2] in classes_of(path)]
    assert len(modules) == 1


MEANS_THE_SAME = {"Attachment", "Verdict"}
"""Taken by the one of two mirrored classes that has the right name already."""


@pytest.mark.parametrize(("old", "new"), [row for row in CLASSES if row[1] not in MEANS_THE_SAME])
def test_the_new_name_of_a_class_means_nothing_else(old: str, new: str) -> None:
    assert room_of_class(new) == frozenset()
    assert [other for other, name in CLASSES if name == new] == [old]
