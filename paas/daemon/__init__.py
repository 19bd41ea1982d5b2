"""What every daemon needs of the system: log lines on stderr, threads that cannot end in silence, and whether the server runs.
Imports `nouns` and `runtime`.

Begin with `journal`, then `threads`; `presence` answers whether a socket is worth waiting for;
`wakeup` wakes those who wait for rows to change.
"""
