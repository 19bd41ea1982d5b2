"""From releases to containers: the one translation of the platform's words into the runtime's. Pure. Imports `nouns` and `runtime.spec`.

Begin and end with `specs`.
"""
