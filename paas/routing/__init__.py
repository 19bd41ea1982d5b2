"""What the router needs to know: its table, the settings of routes, the files beside the table, and how far its workers have come.
Imports `nouns` and `runs`; knows the router by its control socket only.

Begin with `table`, then `settings`; `files`, `applied` and `workers` are the edges to the disk and the sockets.
"""
