"""Every rule gives the same ledger, bit by bit, whatever instructions numpy and its BLAS may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.portability import instructions

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import numpy as np
from learning.gradient.ledger import ledger_digest
from learning.aggregation.quantised import quantise
from learning.aggregation.catalogue import RULES, rule_named
from learning.aggregation.rule import ArrivedGradient, Workers, RuleMemory
from learning.gradient.ledger import AggregationState, PastModel
from learning.task import ParameterBlock

SIZE, GROUP = 10_007, Workers(tuple(bytes([place]) * 32 for place in range(7)), 2)
LAYOUT = (ParameterBlock("weight", (SIZE - 7,), 1), ParameterBlock("bias", (7,), 0))
integers = np.random.Philox(key=11).random_raw(64 * SIZE).astype(np.int64).reshape(64, SIZE)
vectors = (integers % 2001 - 1000).astype(np.float32) / np.float32(77)
VOICES = Workers(GROUP.workers, 4, (1, 4, 2, 1, 1, 3, 2))
WITH_OPTIONS = ("buffered:aggregate=trimmed,momentum=0.9", "dampened:dampening=exponential")
for name, group in (*((name, GROUP) for name in (*RULES, *WITH_OPTIONS)), ("robust", VOICES)):
    rule, memory, model, past = rule_named(name), RuleMemory(), vectors[0], (PastModel(0, bytes(32), vectors[0]),)
    for turn in range(40):
        version = past[-1].version
        author, gradient = GROUP.workers[turn * 3 % 7], quantise(vectors[turn], LAYOUT, 16)
        arrival = ArrivedGradient(author, max(0, version - turn % 3), version, gradient)
        ruling = rule.judge(memory, arrival, group, AggregationState(model, past, memory))
        memory = ruling.memory
        if ruling.step is not None:
            model = model - np.float32(0.125) * ruling.step
            past = (*past, PastModel(version + 1, bytes(32), model))
    digest = ledger_digest(AggregationState(model, past, memory)).hex()
    print(name, sum(group.voices), len(past), model.tobytes().hex()[:64], hash(model.tobytes()), digest)
"""


@pytest.mark.slow
def test_narrow_instructions_and_another_blas_kernel_change_no_bit() -> None:
    plain = {**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    narrow = {**plain, "NPY_DISABLE_CPU_FEATURES": " ".join(instructions()), "OPENBLAS_CORETYPE": "Prescott"}
    answers = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout
        for environment in (plain, narrow)
    ]
    assert answers[0].count("\n") >= 7
    assert answers[0] == answers[1]
