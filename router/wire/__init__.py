"""HTTP on the wire: heads, bodies, rewriting. Pure functions over bytes; imports nothing but the standard library
(and the tables of `hpack`).

Begin with `heads` (`cache` is below it), then `request` and `response`, then `body`, `chunked` and `rewrite`; `proxyprotocol`
stands alone. HTTP/2: `h2wire`, `h2reader`, `h2fields`, `hpack`.
"""
