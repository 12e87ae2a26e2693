"""Faults below all messages: a faulty peer sends outsiders, with keys made up on the spot, to others' doors.

Room: sockets, by the node's own channel and handshake; the event loop; of consensus the messages that anybody may send.
Never: machines, learning.
"""
