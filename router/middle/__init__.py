"""One request on its way: the exchange between a visitor and a backend, and what may happen to it in between. Imports `shared` and below;
knows neither side's connection, only the base classes of both.

Begin with `exchange`, then `gate`, `bulk`, `squeeze` and `tunnel`; `timeouts` ends what takes too long.
"""
