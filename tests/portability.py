"""The numeric tests as other processors run them: `python -m tests.portability [LEVEL ...] [-- PYTEST ARGUMENT ...]`.

Each level is a run of its own, since the libraries choose their kernels when they are loaded. A level may only take away what
this processor has: kernels for instructions that it lacks would end the run.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]

NUMERIC = ("tests/learning", "tests/node/lab/faults/gradient", "tests/node/lab/studies", "tests/node/net/test_bulk_transfer.py")
"""Where numbers are compared, or must be equal bit for bit."""


def instructions() -> list[str]:
    """Instructions beyond its baseline that numpy uses here; none on an old processor, or where all are disabled."""
    found: list[str] = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return found


def levels() -> dict[str, dict[str, str]]:
    """By name, narrowest first: the variables that hold OpenBLAS, torch and numpy to it. None is wider than this processor."""
    found = instructions()
    wide = [name for name in found if name != "X86_V3"]
    every = {
        "sse3": {
            "OPENBLAS_CORETYPE": "Prescott",
            "ATEN_CPU_CAPABILITY": "default",
            "NPY_DISABLE_CPU_FEATURES": " ".join(found),
        },
        "sse4": {"OPENBLAS_CORETYPE": "Nehalem", "ATEN_CPU_CAPABILITY": "default", "NPY_DISABLE_CPU_FEATURES": " ".join(found)},
        "avx2": {"OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2", "NPY_DISABLE_CPU_FEATURES": " ".join(wide)},
        "avx512": {"OPENBLAS_CORETYPE": "SkylakeX", "ATEN_CPU_CAPABILITY": "avx512"},
    }
    needed = {"avx2": "X86_V3", "avx512": "X86_V4"}
    return {name: variables for name, variables in every.items() if needed.get(name) is None or needed[name] in found}


def run(level: str, variables: dict[str, str], arguments: list[str]) -> int:
    """One run of pytest; its exit code."""
    sys.stdout.write(f"{level}: {' '.join(f'{name}={value!r}' for name, value in variables.items())}\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", *(arguments or NUMERIC)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, check=False).returncode


def main(arguments: list[str]) -> int:
    """The worst exit code of the levels asked for, else of all; 2 where one of them is unknown."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    chosen, passed_on, known = arguments[:end], arguments[end + 1 :], levels()
    if unknown := sorted(set(chosen) - known.keys()):
        sys.stderr.write(f"error: no level {', '.join(unknown)} on this processor; there are {', '.join(known)}\n")
        return 2
    return max([run(level, known[level], passed_on) for level in chosen or known])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
