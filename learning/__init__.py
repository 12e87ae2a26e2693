"""Turn ordered contributions into the next model, exactly alike on every peer; find new contributions.

Room: numpy, torch, and the seeds it is handed.
Never: consensus, node, sockets, the node's files, the clock. What two peers must agree on lives in `exact.py`.
"""
