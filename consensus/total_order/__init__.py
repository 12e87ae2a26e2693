"""Total order among known members: one signed block per member and round, final at once, while at most f of 3f+1 are faulty.

Room: pure and deterministic, like all of consensus. Votes, certificates and the order are read off the graph of blocks.
Never: learning, node, proof_of_work, sockets, files, the wall clock, floats, randomness but from the seed it is handed.
"""
