"""What all daemons share: log lines on stderr, threads whose exceptions are logged, waiting for the server, for rows and
for turns. Imports `nouns` and `runtime`.

Begin with `journal`, then `threads`; `presence` says how long to wait for a socket of the server; `wakeup` ends a wait for
rows to change; `turns` bounds what is done at once.
"""
