"""One honest peer, put together and kept running: effects carried out in order, a learner beside the order, an orderly end.

Room: all other rooms of the node but the command line. Never: a rule that two peers must agree on; what tries the node.
"""
