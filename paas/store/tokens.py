"""Rows of `token`: only the SHA-256 of an API token is kept."""

from __future__ import annotations

from paas.nouns.errors import NotFound
from paas.nouns.model import Token, User
from paas.store.database import Tx, now

_COLUMNS = "id, user_id, name, created_at, last_used_at"


def add(tx: Tx, user_id: int, *, hash: str, name: str) -> Token:
    """`hash` is the SHA-256 of the secret, in hexadecimal."""
    at = now()
    tx.execute(
        "INSERT INTO token (user_id, hash, name, created_at) VALUES (?, ?, ?, ?)", (user_id, hash, name, at)
    )
    return Token(tx.last_insert_rowid(), user_id, name, at, None)


def by_hash(tx: Tx, hash: str) -> tuple[Token, User] | None:
    """The token and whose it is."""
    row = tx.execute(
        "SELECT token.id, token.user_id, token.name, token.created_at, token.last_used_at,"
        " user.id, user.name, user.role FROM token JOIN user ON user.id = token.user_id WHERE hash = ?",
        (hash,),
    ).fetchone()
    return (Token(*row[:5]), User(*row[5:])) if row else None


def used(tx: Tx, id: int) -> None:
    tx.execute("UPDATE token SET last_used_at = ? WHERE id = ?", (now(), id))


def get(tx: Tx, id: int) -> Token | None:
    row = tx.execute(f"SELECT {_COLUMNS} FROM token WHERE id = ?", (id,)).fetchone()
    return Token(*row) if row else None


def of_user(tx: Tx, user_id: int) -> list[Token]:
    sql = f"SELECT {_COLUMNS} FROM token WHERE user_id = ? ORDER BY id"
    return [Token(*row) for row in tx.execute(sql, (user_id,))]


def remove(tx: Tx, id: int) -> None:
    """Raises NotFound."""
    tx.execute("DELETE FROM token WHERE id = ?", (id,))
    if not tx.changes():
        raise NotFound("There is no such token.", "`paas tokens` lists them.")
