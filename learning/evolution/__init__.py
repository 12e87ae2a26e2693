"""Learn without gradients: (1,λ)-search and recombination, every candidate a few numbers that anybody can rebuild exactly.

Room: numpy, the exact arithmetic, a task. Never: torch, gradients, and all that `learning` never touches.
"""
