"""Attacks of a worker in gradient mode: what it computes, what it submits, which model it names.

Room: numpy and the local, inexact side of `learning.gradient`. Never: sockets, the clock, consensus.
"""
