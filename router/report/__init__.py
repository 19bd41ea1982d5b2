"""What is told of requests: the access log and the metrics. Imports `rules` and `wire`.

Begin with `access`, then `metrics`; `exposition` writes them in Prometheus's text format.
"""
