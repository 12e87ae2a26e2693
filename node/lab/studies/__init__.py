"""The comparisons of the papers at small scale, remade by one command: runs in virtual time, tables, plots.

Room: it runs the real aggregator, rules, workers and faults; files of its own output folder. Never: sockets, the network.
"""
