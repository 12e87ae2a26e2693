"""Programs that lie in texts, for processes of their own, import what exists: no type checker and no renaming sees them."""

import ast
import importlib
import importlib.util
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


@pytest.mark.slow
def test_programs_in_texts_import_what_exists() -> None:
    found = [
        (place, node.module or "", alias.name)
        for place, program in programs()
        for node in imports(program)
        for alias in node.names
    ]
    assert len({place for place, _, _ in found}) >= 5, "there are such programs"
    assert [one for one in found if not exists(*one[1:])] == []


def exists(module: str, name: str) -> bool:
    """Whether a module has this name, or is the package of a module called so."""
    return hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}") is not None
