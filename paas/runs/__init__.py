"""From releases to containers: the one translation of the platform's words into the runtime's. Pure. Imports `nouns` and `runtime.spec`.

Begin with `specs`; `desired` says which processes of an app should run.
"""
