"""Bytes on the wire for each block and link: with 4,810 parameters, and with 1,010,602. Both runs in one go, and their ratio.

python benchmarks/wire.py [--seconds 40]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

BYTES_MAX = 2_000.0

TASKS = {"digits": 4_810, "benchmarks.wire_task:large": 1_010_602}


def main() -> int:
    """Print bytes per block and link for both models; 1 when one is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="how long each testnet runs")
    seconds = parser.parse_args().seconds
    measured = {task: bytes_per_block(task, seconds) for task in TASKS}
    for task, value in measured.items():
        print(f"{TASKS[task]:10,} parameters: {value:7.1f} bytes per block and link; {value / BYTES_MAX:.2f} of the limit")
    small, large = measured.values()
    factor = TASKS["benchmarks.wire_task:large"] / TASKS["digits"]
    print(f"a model {factor:.0f} times as large: {large / small:.2f} times the traffic")
    return 0 if max(measured.values()) <= BYTES_MAX else 1


def bytes_per_block(task: str, seconds: float) -> float:
    """Four peers for a fixed time (the goal cannot be reached); the mean over peers."""
    command = [sys.executable, str(ROOT / "run_node.py"), "testnet", "--task", task, "--until-accuracy", "1"]
    command += ["--deadline", str(seconds), "--json"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, cwd=ROOT)
    outcome = json.loads(ended.stdout.splitlines()[-1])
    print(f"{task}: height {outcome['height']} after {outcome['seconds']:.0f} s")
    return float(outcome["bytes_sent_per_block"])


if __name__ == "__main__":
    sys.exit(main())
