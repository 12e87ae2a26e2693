"""Peers that misbehave, by name: for tests, testnets, simulations, and the tables that show what each defence survives.

Room: every fault of the project has its name, powers and parameters in `catalogue`; a folder for each family: `gradient`,
`evolution`, `consensus`, `network`. A fault is real node code whose outgoing behaviour is changed.
Never: code that an honest node runs; no defence may know of a fault here.
"""
