"""Four members of a total order on this machine to 90 % test accuracy: seconds, and bytes per member, link and generation.

python benchmarks/total_order_testnet.py [options of `run_node.py testnet`]
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SECONDS_MAX = 30.0
BYTES_MAX = 3_000.0


def main() -> int:
    """Print each figure as a share of its limit; 1 when one is over it."""
    command = [sys.executable, str(ROOT / "run_node.py"), "testnet", "--consensus", "total-order", "--json", *sys.argv[1:]]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    outcome = json.loads(ended.stdout.splitlines()[-1])
    seconds, link_bytes = outcome["seconds"], outcome["bytes_sent_per_block"]
    print(f"{outcome['reason']}: generation {outcome['height']}")
    print(f"{seconds:8.1f} seconds from the members' start; {seconds / SECONDS_MAX:.2f} of the limit {SECONDS_MAX:g}")
    print(f"{link_bytes:8.0f} bytes per member, link and generation; {link_bytes / BYTES_MAX:.2f} of the limit {BYTES_MAX:g}")
    return 0 if ended.returncode == 0 and seconds <= SECONDS_MAX and link_bytes <= BYTES_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
