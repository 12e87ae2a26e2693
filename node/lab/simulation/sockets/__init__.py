"""The real network of the node over virtual time: aiohttp, handshakes and channels on connections that lie in memory.

Room: one event loop that never waits, hosts with addresses of their own, and peers made of the node's own parts upon them.
Processors cost no time here. Never: the wall clock, threads, packets that leave this process, a second version of any rule.
"""
