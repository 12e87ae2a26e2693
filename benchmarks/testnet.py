"""The main job: four peers on this machine to 90 % test accuracy; each figure as a share of its limit, from one run.

python benchmarks/testnet.py [options of `run_node.py testnet`]
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SECONDS_MAX = 90.0
MEMORY_MB_MAX = 600.0
LAG_MS_MAX = 50.0
BYTES_MAX = 2_000.0


def main() -> int:
    """Print the figures; 1 when the goal was missed."""
    command = [sys.executable, str(ROOT / "run_node.py"), "testnet", "--json", *sys.argv[1:]]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    outcome = json.loads(ended.stdout.splitlines()[-1])
    peers = outcome["peers"]
    seconds_per_block = outcome["seconds"] / max(1, outcome["height"] or 0)
    print(f"{outcome['reason']}: height {outcome['height']}, {seconds_per_block:.2f} s a block")
    print_share("seconds from the peers' start", outcome["seconds"], SECONDS_MAX)
    print_share("MB of the largest peer", max(peer["rss_mb"] for peer in peers), MEMORY_MB_MAX)
    print_share("ms event-loop lag, 99th percentile, worst peer", max(peer["loop_lag_p99_ms"] for peer in peers), LAG_MS_MAX)
    print_share("bytes per block and link", outcome["bytes_sent_per_block"], BYTES_MAX)
    print(f"candidates a second, all peers: {sum(peer['candidates_per_second'] for peer in peers):,.0f}")
    return ended.returncode


def print_share(what: str, value: float, limit: float) -> None:
    """One line: value, limit, share."""
    print(f"{value:10.1f} {what}; {value / limit:.2f} of the limit {limit:g}")


if __name__ == "__main__":
    sys.exit(main())
