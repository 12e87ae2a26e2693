"""What is installed by hash is what the constraints say, whole, and from no place in particular."""

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FILES = tuple(sorted((ROOT / "requirements").glob("*.txt")))
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([0-9][^ ;\\\n]*)", re.MULTILINE)


def pins_of(path: Path) -> dict[str, str]:
    """Versions by name, without the label of a build ("+cpu")."""
    found = PIN.findall(path.read_text(encoding="utf-8"))
    return {canonicalize_name(name): version.partition("+")[0] for name, version in found}


HASHED = {name: version for path in FILES for name, version in pins_of(path).items()}


def needed_by(name: str) -> set[str]:
    """Names of all packages that this one needs here, the CUDA libraries of a build of torch aside, and itself."""
    found, waiting = set(), [name]
    while waiting:
        current = canonicalize_name(waiting.pop())
        if current in found or current.startswith(("nvidia-", "cuda-", "triton")):
            continue
        found.add(current)
        wanted = [Requirement(line) for line in requires(current) or ()]
        waiting += [item.name for item in wanted if item.marker is None or item.marker.evaluate({"extra": ""})]
    return found


def test_every_package_that_runs_is_pinned_by_hash() -> None:
    assert needed_by("kubrat") - {"kubrat"} <= HASHED.keys()
    assert "setuptools" in HASHED  # what builds it


def test_the_hashed_versions_are_those_of_the_constraints() -> None:
    constraints = pins_of(ROOT / "constraints.txt")
    assert {name: constraints.get(name) for name in HASHED} == HASHED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_pin_has_hashes_and_none_a_place(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    pins = [number for number, line in enumerate(lines) if "==" in line]
    assert pins
    for number in pins:
        assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", lines[number + 1]), lines[number]
    assert all(PIN.match(line) or line.startswith("    --hash=sha256:") for line in lines)
