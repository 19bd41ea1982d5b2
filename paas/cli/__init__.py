"""The `paas` command: a module of commands per noun, and the client of the API. Starts fast: click and the standard library only
(a test looks). Imports `nouns`, `keys` and `daemon`; the commands about this machine import `host` when they run.

Begin with `main` (`entry` is the program), then `base`, `target` and `client`, then the module of a noun, `config` say; `output` prints, `help` and `words` explain.
"""
