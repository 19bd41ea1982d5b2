"""The backends' side: connections, their pools, health checks, tables put in force. Imports `middle` and below.

Begin with `upstreams` (a connection for an exchange, ejection, a new table), then `pooled` (the life of a connection),
`connection` (reads an answer) and `health`.
"""
