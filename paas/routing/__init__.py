"""The control plane's side of routing: makes the router's table and the files beside it, and asks its workers what they have applied.
Imports `nouns` and `runs`; knows the router by its control socket only.

Begin with `table`, then `settings`; `files`, `applied` and `workers` are the edges to the disk and the sockets.
"""
