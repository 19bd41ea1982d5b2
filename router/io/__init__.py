"""Sockets and the loop: epoll, buffered writing, TLS. Imports `rules` for certificates' names only.

Begin with `loop`, then `stream`, then `tls`; `certificates` keeps contexts, `tickets` lets all workers resume a session.
"""
