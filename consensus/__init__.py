"""Put opaque, signed contributions in one order that all honest peers share, whatever a minority of peers may do.

Room: pure and deterministic. It sees integers, bytes, the clock reading and the random seed it is handed.
Never: learning, node, sockets, files, the wall clock, floats, numpy, torch, logging.
"""
