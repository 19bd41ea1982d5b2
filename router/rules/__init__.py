"""What the table says: routes, backends, policies, and the answers that the router gives itself. Pure. Imports `wire`.

Begin with `route`, then `table` and `paths`, then `policy` and `gate`; `tablefile` reads a table from JSON in `pieces`,
`own_answers` and `pages` are the router's own answers.
"""
