"""The backends' side: connections, their pools, health checks, tables put in force. Imports `middle` and below.

Begin with `upstreams` (a connection for an exchange, who sits out, a new table), then `pooled` (a connection as the loop
and the pool know it), `connection` (reads an answer) and `health`.
"""
