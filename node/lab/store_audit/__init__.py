"""What the stores of real peers show when they are laid side by side: the checkers of the simulator read them.

Room: databases opened for reading alone, redo logs, logs; rows become the events that left them. Never: a write into a peer's
folder; a rule of its own where a checker has it.
"""
