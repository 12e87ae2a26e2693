"""Golden digests of the exact arithmetic, from the first release. Append only: what changes them forks the network.

Section 3 of docs/protocol.md.
"""

from collections.abc import Mapping

GOLDEN_DIGESTS: Mapping[str, str] = {
    "Philox words": "50accc21287462acc02f81a02f40c644",
    "signs": "f2246cae21426ab5aa75046aba5b89a0",
    "children": "c0183e1b275ee68987f28b298fcfdc72",
    "recombined child": "6ba447601ca7a5c2ded4e839b9e3e7bf",
    "first weights": "1eede079765651bfbc6d36f6dea24287",
    "rounded factors": "1d56f9029dc1a056ef50ef53cab93bd7",
    "tree sum": "c9c8e74f1854ebdb061e1c84b86b6e36",
    "micro-units": "e6d2632638a868ad01b6ec78a931ff7a",
    "permutation": "f9fe4ae8e1ed82536ebac771339a3c4a",
    "subnormal float32 values": "2bac88c3931df2f1ec5f09c7eb71d452",
    "float64 root and division": "05e1a38af3f65b4ab55be4bc503310fc",
    "moved child": "8bfac13996aa01ddb3e71426b4e16cf8",
}
