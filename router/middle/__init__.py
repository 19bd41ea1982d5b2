"""One request on its way between a visitor and a backend. Imports `shared` and below; of the two sides it knows only
the base classes in `sides`.

Begin with `exchange`, whose docstring lists the phases of a request, and `sides`. An exchange is one object in three
classes: `inflight` has its state, `answering` the way of the answer, `exchange` the way of the request. Then read
`admission` (the policy), `bulk` (large bodies), `squeeze` (gzip), `tunnel` (WebSocket) and `timeouts`.
"""
