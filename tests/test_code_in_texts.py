"""Programs that lie in texts, for processes of their own, import what exists: no type checker and no renaming sees them."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("consensus", "learning", "node", "tests", "benchmarks")


def programs() -> Iterator[tuple[str, str]]:
    """Each text that is a program, and its place."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for found in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(found, ast.Constant) and isinstance(found.value, str) and "import " in found.value:
                    yield f"{path.relative_to(ROOT)}:{found.lineno}", found.value


def imports(program: str) -> list[ast.ImportFrom]:
    """Of our own code; none where the text is no program."""
    try:
        tree = ast.parse(program)
    except SyntaxError:
        return []
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module)
    return [node for node in found if node.module and node.module.split(".")[0] in ROOMS]


PROGRAMS = [pytest.param(program, id=place) for place, program in programs() if imports(program)]


def test_there_are_such_programs() -> None:
    assert len(PROGRAMS) >= 5


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_in_a_text_imports_what_exists(program: str) -> None:
    for node in imports(program):
        assert node.module is not None
        module = importlib.import_module(node.module)
        missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
        assert missing == [] or all(importlib.import_module(f"{node.module}.{name}") for name in missing)
