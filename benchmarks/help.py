"""The time that `run_node.py --help` takes, against that of a bare interpreter; each the median of ten runs taken in turns."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

HELP_MS_MAX = 150.0


def main() -> int:
    """Print both medians; 1 when help takes longer than the limit."""
    rounds = [(milliseconds(str(ROOT / "run_node.py"), "--help"), milliseconds("-c", "pass")) for _ in range(10)]
    help_ms, bare_ms = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"help {help_ms:.0f} ms, bare interpreter {bare_ms:.0f} ms, {help_ms / HELP_MS_MAX:.2f} of the limit {HELP_MS_MAX:g}")
    return 0 if help_ms <= HELP_MS_MAX else 1


def milliseconds(*arguments: str) -> float:
    """Wall time of one interpreter with these arguments."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    sys.exit(main())
