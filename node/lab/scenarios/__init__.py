"""What befalls a network, as a file says it: read, and held against itself; for simulations and for real processes alike.

Room: values in, problems out. Never: a network, simulated or real; time.
"""
