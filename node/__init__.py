"""Bytes in and out, time, disk, processes and people: everything that joins one peer to the world.

Room: sees everything, and assembles consensus and learning into a running peer.
Never: a rule that two peers must agree on; those live in consensus and learning.
"""
