"""A network of peers in one process over virtual time: the same replicas and learners, with no socket, clock or disk.

Room: seeds, a heap of events, memory. Never: the wall clock within a run, real sockets, a second version of any rule.
"""
