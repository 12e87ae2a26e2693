"""What the tree looks like: lines, the longest modules and functions, names given twice, and how far a block walks through it.

Reads the source, and runs four simulated peers of each order for the walk. Figures without a goal are only reported.

    python benchmarks/house.py [--json]
"""

import argparse
import ast
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from consensus.protocol import Input, PuzzleVerified, Received
from node.lab.scenarios.scenario import ExpectSection, Scenario
from node.lab.scenarios.toy_tasks import ToyTask
from node.lab.simulation.run import Simulation
from node.rules.network_rules import Consensus, Learning
from node.runtime.coupling import Coupling

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("consensus", "learning", "node")

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60


@dataclass(frozen=True)
class Module:
    """One file of source, and its tree."""

    name: str
    lines: int
    tree: ast.Module


@dataclass(frozen=True)
class Walk:
    """One input of a replica: the calls of this project's functions, and how many of them left the file."""

    calls: int
    changes_of_file: int


def main() -> int:
    """Print everything; 1 where a module or a function is longer than the house allows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    modules = {room: list(modules_of(ROOT / room)) for room in (*ROOMS, "tests")}
    code = [module for room in ROOMS for module in modules[room]]
    long_modules = sorted((module for module in code if module.lines > MODULE_LINES_MAX), key=lambda module: -module.lines)
    long_functions = sorted(functions_over(FUNCTION_LINES_MAX, code), key=lambda found: -found[1])
    figures = {
        "lines": {room: sum(module.lines for module in modules[room]) for room in (*ROOMS, "tests")},
        "lines without tests": sum(module.lines for module in code),
        "modules": len(code),
        "median module": statistics.median(module.lines for module in code if module.lines > 1),
        f"modules over {MODULE_LINES_MAX} lines": {module.name: module.lines for module in long_modules},
        f"functions over {FUNCTION_LINES_MAX} lines": dict(long_functions),
        "class names of several classes": {name: len(places) for name, places in sorted(classes_named_twice(code).items())},
        "a block": {str(order): walked(order) for order in Consensus},
    }
    print(json.dumps(figures, indent=2) if args.json else "\n".join(lines_of(figures)))
    return 1 if long_modules or long_functions else 0


def lines_of(figures: dict[str, object]) -> Iterator[str]:
    """For people."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield f"{name}: {len(value)}" if name.startswith(("modules", "functions", "class")) else f"{name}:"
            yield from (f"  {inner:60} {count}" for inner, count in value.items())
        else:
            yield f"{name}: {value}"


def modules_of(folder: Path) -> Iterator[Module]:
    """Every Python file below a folder."""
    for path in sorted(folder.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        yield Module(str(path.relative_to(ROOT)), len(source.splitlines()), ast.parse(source))


def functions_over(limit: int, modules: list[Module]) -> Iterator[tuple[str, int]]:
    """Functions with more lines than that, decorators not counted."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None, "parsed from a file"
                length = node.end_lineno - node.lineno + 1
                if length > limit:
                    yield f"{module.name}:{node.lineno} {node.name}", length


def classes_named_twice(modules: list[Module]) -> dict[str, list[str]]:
    """Public class names of several classes, and where these are."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module.name)
    return {name: found for name, found in places.items() if len(found) > 1}


def walked(order: Consensus) -> dict[str, str]:
    """Medians over ten virtual seconds of four peers: of a message received, and of a puzzle that was verified."""
    walks: dict[str, list[Walk]] = defaultdict(list)
    handle = Coupling.handle

    def measured(self: Coupling, event: Input, *more: object) -> object:
        walker = Walker()
        sys.setprofile(walker.step)
        try:
            return handle(self, event, *more)  # type: ignore[arg-type]
        finally:
            sys.setprofile(None)
            if isinstance(event, Received | PuzzleVerified):
                walks[type(event).__name__].append(walker.walk)

    Coupling.handle = measured  # type: ignore[method-assign, assignment]
    try:
        scenario = Scenario(
            name="walk",
            consensus=order,
            learning=Learning.EVOLUTION,
            peers=4,
            duration_s=10,
            task=ToyTask.QUADRATIC,
            expect=ExpectSection(calm_s=5),
            are_checked=False,
        )
        Simulation(scenario, seed=1).run()
    finally:
        Coupling.handle = handle  # type: ignore[method-assign]
    return {name: _told(found) for name, found in walks.items()}


class Walker:
    """A profile hook that counts calls of this project's functions, and those from another file."""

    def __init__(self) -> None:
        self._calls = 0
        self._changes = 0

    @property
    def walk(self) -> Walk:
        """What was counted."""
        return Walk(self._calls, self._changes)

    def step(self, frame: FrameType, event: str, _: object) -> None:
        """As sys.setprofile wants it."""
        if event != "call" or not frame.f_code.co_filename.startswith(str(ROOT)):
            return
        self._calls += 1
        caller = frame.f_back
        self._changes += caller is not None and caller.f_code.co_filename != frame.f_code.co_filename


def _told(walks: list[Walk]) -> str:
    calls = statistics.median(walk.calls for walk in walks)
    changes = statistics.median(walk.changes_of_file for walk in walks)
    return f"{calls:.0f} calls, {changes:.0f} from another file (median of {len(walks)})"


if __name__ == "__main__":
    sys.exit(main())
