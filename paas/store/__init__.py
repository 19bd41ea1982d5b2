"""The only SQL of the platform: one SQLite database, one module of queries per noun. Imports `nouns` and `routing`'s settings.

Begin with `database` (transactions, migrations, pokes), then `table` (rows become nouns) and `releases`; every other module is the queries of the nouns it is named after (`people`: users, their tokens and keys).
"""

from paas.store.database import Store, Tx, poke

__all__ = ["Store", "Tx", "poke"]
