"""Faults of an evolutionary learner: what it searches, offers, claims and scores.

Room: changes the answers of honest learners; learning. Never: sockets, the clock, consensus.
"""
