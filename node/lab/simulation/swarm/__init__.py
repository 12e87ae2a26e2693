"""Many small networks, each with its own mix of troubles: a seed says everything about one, and replays it.

Room: draws plans, runs them under all checkers, counts what they went through.
Never: a rule, a checker, the wall clock inside a run.
"""
