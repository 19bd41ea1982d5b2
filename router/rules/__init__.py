"""What the table says: routes, backends, policies, and which answer stands for which failure. Pure. Imports `wire`.

Begin with `table`, then `paths` and `policy`; `tablefile` reads a table from JSON, `failures` and `pages` are the answers of our own.
"""
