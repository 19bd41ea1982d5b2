"""The platform's nouns as immutable values, the rules for names and quantities, the error family, the tables of states. Pure:
the standard library, `idna` for names and the YAML parser for settings; every other room may import it.

Begin with `model`, then `lifecycle`, `names` and `errors`; `settings`, `certificates` and `text` are read when needed.
"""
