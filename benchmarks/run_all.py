"""Run every benchmark one after another: `make bench`. A quarter of an hour; wants a machine that does nothing else."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

SCRIPTS = (
    "noise_and_child",
    "evaluator",
    "puzzle",
    "help",
    "testnet",
    "wire",
    "judge",
    "scale",
    "total_order_machine",
    "total_order_latency",
    "total_order_loopback",
    "total_order_testnet",
    "shares",
    "hostile",
)


def main() -> int:
    """Print each one's output under its name; the number of those that missed a goal."""
    missed = []
    for script in SCRIPTS:
        print(f"--- {script}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{script}.py")], check=False).returncode != 0:
            missed.append(script)
    print(f"--- missed: {', '.join(missed) or 'none'}")
    return len(missed)


if __name__ == "__main__":
    sys.exit(main())
