"""How many single-place mutants of a package its tests notice: a sample by a seed, each in a scratch copy of the tree.

    python -m benchmarks.mutants consensus/total_order tests/consensus/total_order --sample 100 --seed 1

A mutant turns one comparison, sum, boolean or condition round, moves a number by one, or leaves out one statement. Asserts,
texts, and constants of a module are left alone. A mutant is caught when a test fails, or takes longer than the limit.
"""

import argparse
import ast
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECONDS_MAX = 300
"""For the tests of one mutant: without it they take a minute."""

COMPARED = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}


@dataclass(frozen=True)
class Mutant:
    """One place of one file, and what stands there instead."""

    path: Path
    line: int
    start: int
    end: int
    before: str
    text: str

    def applied(self, source: str) -> str:
        return source[: self.start] + self.text + source[self.end :]


class Places:
    """Finds them in one file."""

    def __init__(self, path: Path, source: str) -> None:
        self._path = path
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def all(self) -> Iterator[Mutant]:
        for statement in ast.parse(self._source).body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                yield from self._inside(statement)

    def _inside(self, node: ast.AST) -> Iterator[Mutant]:
        if isinstance(node, ast.Assert | ast.AnnAssign | ast.JoinedStr):
            return
        yield from self._of(node)
        for field, value in ast.iter_fields(node):
            children = value if isinstance(value, list) else [value]
            for child in children:
                if isinstance(child, ast.AST) and field not in {"annotation", "returns", "decorator_list", "bases"}:
                    yield from self._inside(child)

    def _of(self, node: ast.AST) -> Iterator[Mutant]:
        match node:
            case ast.Compare(left, [operator], [right]):
                yield self._mutant(node, f"{self._text(left)} {COMPARED[type(operator)]} {self._text(right)}")
            case ast.BoolOp(operator, values):
                word = " or " if isinstance(operator, ast.And) else " and "
                yield self._mutant(node, f"({word.join(f'({self._text(value)})' for value in values)})")
            case ast.UnaryOp(ast.Not(), operand):
                yield self._mutant(node, f"bool({self._text(operand)})")
            case ast.BinOp(left, ast.Add() | ast.Sub() as operator, right):
                sign = "-" if isinstance(operator, ast.Add) else "+"
                yield self._mutant(node, f"({self._text(left)} {sign} {self._text(right)})")
            case ast.Constant(bool()):
                yield self._mutant(node, str(not node.value))
            case ast.Constant(int() as number):
                yield self._mutant(node, str(number + 1))
            case ast.If(test) | ast.While(test):
                yield self._mutant(test, f"not ({self._text(test)})")
            case ast.Expr(ast.Call()) | ast.Assign([ast.Attribute() | ast.Subscript()]) | ast.AugAssign() | ast.Delete():
                yield self._mutant(node, "pass")
            case _:
                pass

    def _mutant(self, node: ast.expr | ast.stmt, text: str) -> Mutant:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        return Mutant(self._path, node.lineno, start, end, self._source[start:end], text)

    def _text(self, node: ast.expr) -> str:
        text = ast.get_source_segment(self._source, node)
        assert text is not None
        return text


def is_caught(tree: Path, mutant: Mutant, tests: list[str]) -> bool:
    """Whether the tests of the scratch tree notice it."""
    target = tree / mutant.path
    source = target.read_text()
    target.write_text(mutant.applied(source))
    command = [sys.executable, "-m", "pytest", *tests, "-x", "-q", "-p", "no:cacheprovider", "--no-header"]
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, timeout=SECONDS_MAX, check=False)
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        target.write_text(source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    places = [place for path in sorted(chosen.package.glob("*.py")) for place in Places(path, path.read_text()).all()]
    sample = random.Random(chosen.seed).sample(places, min(chosen.sample, len(places)))
    print(f"{len(places)} places, {len(sample)} drawn by seed {chosen.seed}", flush=True)
    caught = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(".", tree, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".hypothesis"))
        for number, mutant in enumerate(sample, start=1):
            begun = time.monotonic()
            is_noticed = is_caught(tree, mutant, chosen.tests)
            caught += is_noticed
            told = f"{mutant.path}:{mutant.line}: {mutant.before.splitlines()[0]} -> {mutant.text}"
            seconds = time.monotonic() - begun
            print(f"{number:3} {'caught  ' if is_noticed else 'SURVIVES'} {seconds:5.0f} s  {told}", flush=True)
    print(f"caught: {caught} of {len(sample)}")


if __name__ == "__main__":
    main()
