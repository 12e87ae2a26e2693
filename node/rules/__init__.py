"""What the peers of a network must hold to (network.toml), and what a person chooses for one peer.

Room: text in, checked values out, every mistake named. Never: a running peer; torch.
"""
