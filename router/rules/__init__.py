"""What the table says: routes, backends, policies, and which answer stands for which failure. Pure. Imports `wire`.

Begin with `route`, then `table` and `paths`, then `policy` and `gate`; `tablefile` reads a table from JSON in `pieces`, `failures`
and `pages` are the router's own answers.
"""
