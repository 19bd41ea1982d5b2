"""Sockets and the loop: epoll, buffered writing, TLS. Imports nothing of the other rooms.

Begin with `loop`, then `stream`, then `tls`; `certificates` keeps contexts, `tickets` lets all workers resume a
session (`openssl` has the call for it), `pipes` lets large bodies pass without a copy, `later` does long work in pieces.
"""
