"""Total order by the number of members: bytes and processor time per round, commit latency; in virtual time, one run.

The machine's own time is measured with signatures stubbed; a signature check is measured beside it. 128 members take minutes.

    python benchmarks/total_order_scale.py [--members 4 16 64]
"""

import argparse
import sys
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from total_order_latency import block_bytes, measure

from consensus.encoding import is_signed_by
from consensus.types import Digest, PeerId

SECONDS = {4: 20, 16: 8, 64: 2, 128: 1}
"""Of virtual time: larger committees take longer to simulate."""


def main() -> int:
    """Print one line for each number of members."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, nargs="+", default=[4, 16, 64])
    check_ms = signature_check_ms()
    print(f"one signature check: {check_ms:.3f} ms")
    print("members  bytes a block  sent a round and member  checks a round  leader latency  latency of all")
    for members in parser.parse_args().members:
        size = block_bytes(members)
        leader, everyone, _ = measure(members, 0, SECONDS.get(members, 1))
        sent_kb = size * (members - 1) / 1000
        checks_ms = check_ms * (members - 1)
        print(
            f"{members:7}  {size:13,.0f}  {sent_kb:20,.1f} kB  {checks_ms:11.1f} ms  {leader:8.2f} links  {everyone:8.2f} links"
        )
    return 0


def signature_check_ms() -> float:
    """Mean of 500 checks of one signature over a digest."""
    key = Ed25519PrivateKey.generate()
    peer, digest = PeerId(key.public_key().public_bytes_raw()), Digest(bytes(32))
    signature = key.sign(digest)
    started = time.perf_counter()
    for _ in range(500):
        assert is_signed_by(peer, digest, signature)
    return (time.perf_counter() - started) * 1000 / 500


if __name__ == "__main__":
    sys.exit(main())
