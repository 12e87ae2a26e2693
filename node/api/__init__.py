"""What people and their tools read from a running node, over HTTP on the loopback address.

Room: reads a snapshot that the node gives it. Never: changes anything, decides anything.
"""
