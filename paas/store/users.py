"""Rows of `user`."""

from __future__ import annotations

from paas.nouns.errors import Conflict
from paas.nouns.model import User
from paas.store.database import Tx, now
from paas.store.table import Table

USERS = Table("user", User)


def add(tx: Tx, name: str, role: str) -> User:
    """`role` is admin or member. Raises Conflict when the name is taken."""
    if by_name(tx, name):
        raise Conflict(f"There is a user {name} already.")
    tx.execute("INSERT INTO user (name, role, created_at) VALUES (?, ?, ?)", (name, role, now()))
    return User(tx.last_insert_rowid(), name, role)


def by_name(tx: Tx, name: str) -> User | None:
    return USERS.first(tx, "WHERE name = ?", (name,))


def by_id(tx: Tx, id: int) -> User | None:
    return USERS.first(tx, "WHERE id = ?", (id,))


def all(tx: Tx) -> list[User]:
    return USERS.select(tx, "ORDER BY name")
