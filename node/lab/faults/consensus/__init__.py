"""Faults of a replica: what it sends, when, to whom, and by which clock.

Room: changes the effects and inputs of an honest replica; consensus, pure and deterministic. Never: sockets, files, a clock.
"""
