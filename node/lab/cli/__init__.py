"""The commands that try the node: testnet, inject, simulate, reproduce.

Room: as that of `node.cli`. Never: a decision that the lab takes.
"""
