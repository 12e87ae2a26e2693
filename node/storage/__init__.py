"""What one peer keeps on its disk: a folder with its key, the rules, one database and its redo log.

Room: files and SQLite; what is told to be durable is. Never: sockets; what a record means.
"""
