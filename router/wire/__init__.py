"""HTTP on the wire: heads, bodies, rewriting. Pure functions over bytes; imports nothing but the standard library.

Begin with `heads`, then `request` and `response`, then `chunked` and `rewrite`; `h2fields` and `proxyprotocol` stand alone.
"""
