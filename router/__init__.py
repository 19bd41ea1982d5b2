"""A reverse proxy for HTTP/1.1 and HTTP/2: one epoll loop per worker, whole route tables, no privileges.

Usable alone (`python -m router --listen 127.0.0.1:8080 --backends 127.0.0.1:9001,127.0.0.1:9002`). All it knows of apps
is in the table. It imports the standard library, and `hpack` when a client speaks HTTP/2. What parses and decides is
pure (`wire`, `rules`); what moves bytes is thin (`io`, `front`, `middle`, `back`). Begin with `middle`: its `exchange`
lists the phases of a request.
"""
