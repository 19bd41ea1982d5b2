"""The visitors' side: accepting connections, HTTP/1 and HTTP/2. Imports `middle` and below.

Begin with `listener` and `entrance`, then `client` (what connections of both versions share), `http1` (reads requests)
and `answers` (writes answers). HTTP/2 is `h2` (the connection), `h2stream`, `h2frames` (what the
client sends), `h2writer` (what is sent to it) and `h2budget`; `client_limits` bounds connections.
"""
