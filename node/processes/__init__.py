"""The processes beside a node's event loop: one searches and measures, one works on puzzles.

Room: a pipe to the node, the processor, and what the node hands over at the start.
Never: sockets, the node's files, a rule that two peers must agree on.
"""
