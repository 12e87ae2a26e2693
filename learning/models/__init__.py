"""Measure models: one of them exactly, or many candidates of one model on one batch, fast.

Room: torch modules and flat parameter vectors. Never: what a candidate is worth to others, the order, files.
"""
