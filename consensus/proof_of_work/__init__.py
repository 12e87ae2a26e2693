"""Order by proof of work: whoever solves the puzzle first leads a block, and the branch with most work that measures well wins.

Room: pure and deterministic, like all of consensus. Membership is open, finality is a matter of depth (docs/protocol.md, 5).
Never: learning, node, sockets, files, the wall clock, floats; the puzzle itself is computed in another process.
"""
