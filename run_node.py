#!/usr/bin/env python3
"""Start a Kubrat node, or a whole testnet: `run_node.py --help`."""

from node.cli import main

if __name__ == "__main__":
    main()
