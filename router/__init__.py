"""An HTTP/1.1 reverse proxy: one epoll loop per worker, whole route tables, no privileges.

Usable alone (`python -m router --listen 127.0.0.1:8080 --backends 127.0.0.1:9001,127.0.0.1:9002`); knows no app and
imports nothing but the standard library. What parses and decides is pure (`lines`, `request`, `response`, `chunked`,
`table`, `choice`, `errors`); what moves bytes is thin (`stream`, `client`, `exchange`, `backend`, `tunnel`, `loop`).
"""
