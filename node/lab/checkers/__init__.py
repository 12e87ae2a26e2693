"""Checkers of a network, simulated or real: they see what peers do and record and what learners answer; they change nothing.

Room: values in, findings out. A rule that a checker holds a peer to is written here once more, slowly, and from the documents.
Never: the structures of the code under test, except to count what they hold; randomness; the network itself.
"""
