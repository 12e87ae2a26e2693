"""The command line and the terminal: reads what a person wrote, calls one function, tells the outcome.

Room: arguments, standard output and error, a running node's API. Never: a decision that a node takes.
"""

from node.cli.group import main

__all__ = ["main"]
