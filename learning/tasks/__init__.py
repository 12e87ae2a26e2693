"""What can be learned: the built-in tasks by name, and a user's own.

Room: data that ships with libraries or that the user has as files, torch models, episodes seeded by what the learner draws.
Never: the network's state, the clock, anything that differs between two peers. Heavy libraries are imported only by the
modules that need them, so that a command's help does not wait for torch.
"""
