"""What members of a total order decide by scoring each other's entries, whatever an entry is: the same at every member.

Room: bytes and integers. Never: torch, a measurement, how an entry was found.
"""
