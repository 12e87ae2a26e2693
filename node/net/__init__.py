"""Carry opaque messages between peers that do not trust each other: authenticate, bound, flood, dial.

Room: sockets, aiohttp, the clock and the randomness it is handed.
Its machines (wire, handshake, gossip, parts, rates) are pure.
Never: the meaning of a message, files; of learning it knows how attachments and states are named, and nothing else. What a
message says is judged by the ordering machine alone.
"""
