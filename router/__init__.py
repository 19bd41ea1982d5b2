"""An HTTP/1.1 reverse proxy: one epoll loop per worker, whole route tables, no privileges.

Usable alone (`python -m router --listen 127.0.0.1:8080 --backends 127.0.0.1:9001,127.0.0.1:9002`); all it
knows of apps is in the table, and it imports the standard library, and `h2` when a client speaks HTTP/2. What parses and decides is pure (`lines`, `request`, `response`, `chunked`,
`table`, `choice`, `errors`); what moves bytes is thin (`stream`, `client`, `exchange`, `backend`, `tunnel`, `loop`).
"""
