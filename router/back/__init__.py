"""The backends' side: connections, their pool, health checks. Imports `middle` and below.

Begin with `connection`, then `health`.
"""
