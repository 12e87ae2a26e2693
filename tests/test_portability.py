"""What `make portability` sets reaches the libraries."""

import os
import subprocess
import sys

import pytest

from tests.portability import ROOT, levels, main

PROGRAM = """
import numpy, threadpoolctl, torch
from tests.portability import instructions
kernels = {info["architecture"] for info in threadpoolctl.threadpool_info() if info["internal_api"] == "openblas"}
print(torch.backends.cpu.get_cpu_capability(), instructions(), *kernels)
"""

WIDE_KERNELS = {"Sandybridge", "Haswell", "Zen", "SkylakeX", "Cooperlake", "Sapphirerapids"}
"""Of OpenBLAS: all that use AVX."""


@pytest.mark.slow
def test_the_narrowest_level_leaves_no_library_a_wide_instruction() -> None:
    environment = {**os.environ, **levels()["sse3"]}
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    capability, instructions, *kernels = told.stdout.split()
    assert (capability, instructions) == ("DEFAULT", "[]")
    assert kernels
    assert WIDE_KERNELS.isdisjoint(kernels)


def test_a_level_that_this_processor_does_not_have_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["avx1024", "--", "tests/learning"]) == 2
    assert capsys.readouterr().err.startswith("error: no level avx1024 on this processor; there are sse3, sse4")
