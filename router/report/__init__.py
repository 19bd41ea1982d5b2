"""The access log and the metrics. Imports `rules` and `wire`.

Begin with `entry`, then `access` and `ring`, then `metrics`; `exposition` writes them in Prometheus's text format.
"""
