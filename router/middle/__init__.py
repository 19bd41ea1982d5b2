"""One request on its way: the exchange between a visitor and a backend, and what may happen to it in between. Imports
`shared` and below; knows of both sides only the base classes in `sides`.

Begin with `exchange`, whose docstring lists the phases of a request, and `sides`; then `admission` (the policy), `bulk`
(large bodies), `squeeze` (gzip) and `tunnel` (WebSocket). `inflight` is an exchange's state, `timeouts` ends what takes
too long.
"""
