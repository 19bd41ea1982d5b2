"""Rows of `token`: only the SHA-256 of an API token is kept."""

from __future__ import annotations

from paas.nouns.errors import NotFound
from paas.nouns.model import Token, User
from paas.store import users
from paas.store.database import Tx, now
from paas.store.table import Table

TOKENS = Table("token", Token)


def add(tx: Tx, user_id: int, *, hash: str, name: str) -> Token:
    """`hash` is the SHA-256 of the secret, in hexadecimal."""
    at = now()
    tx.execute(
        "INSERT INTO token (user_id, hash, name, created_at) VALUES (?, ?, ?, ?)", (user_id, hash, name, at)
    )
    return Token(tx.last_insert_rowid(), user_id, name, at, None)


def by_hash(tx: Tx, hash: str) -> tuple[Token, User] | None:
    """The token and whose it is."""
    token = TOKENS.first(tx, "WHERE hash = ?", (hash,))
    user = users.by_id(tx, token.user_id) if token is not None else None
    return None if token is None or user is None else (token, user)


def used(tx: Tx, id: int) -> None:
    tx.execute("UPDATE token SET last_used_at = ? WHERE id = ?", (now(), id))


def get(tx: Tx, id: int) -> Token | None:
    return TOKENS.first(tx, "WHERE id = ?", (id,))


def of_user(tx: Tx, user_id: int) -> list[Token]:
    return TOKENS.select(tx, "WHERE user_id = ? ORDER BY id", (user_id,))


def remove(tx: Tx, id: int) -> None:
    """Raises NotFound."""
    tx.execute("DELETE FROM token WHERE id = ?", (id,))
    if not tx.changes():
        raise NotFound("There is no such token.", "`paas tokens` lists them.")
