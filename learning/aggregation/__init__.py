"""How gradients become steps of the model: one rule a module, each with its source, pure and exact.

Room: it sees quantised gradients, integers, and models it is handed; elementwise float32 for what moves the model.
Never: torch, tasks, data, the clock.
"""
