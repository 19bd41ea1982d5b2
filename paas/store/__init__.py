"""The only SQL of the platform: one SQLite database, one module of queries per noun."""

from paas.store.database import Store, Tx, poke

__all__ = ["Store", "Tx", "poke"]
