"""What every room of the node uses: errors with their fix, words and figures for people, small files, how we were called.

Room: the standard library. Never: another room.
"""
