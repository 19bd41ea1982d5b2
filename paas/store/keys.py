"""Rows of `ssh_key`."""

from __future__ import annotations

from paas.nouns.errors import Conflict, NotFound
from paas.nouns.model import Key, User
from paas.store.database import Tx, now

_COLUMNS = "fingerprint, user_id, public_key, comment, created_at"


def add(tx: Tx, user_id: int, *, fingerprint: str, public_key: str, comment: str) -> Key:
    """Raises Conflict when the key belongs to somebody already."""
    if user_of(tx, fingerprint):
        raise Conflict(f"The key {fingerprint} is registered already.", "One key belongs to one user.")
    at = now()
    tx.execute(
        f"INSERT INTO ssh_key ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
        (fingerprint, user_id, public_key, comment, at),
    )
    return Key(fingerprint, user_id, public_key, comment, at)


def get(tx: Tx, fingerprint: str) -> Key | None:
    row = tx.execute(f"SELECT {_COLUMNS} FROM ssh_key WHERE fingerprint = ?", (fingerprint,)).fetchone()
    return Key(*row) if row else None


def user_of(tx: Tx, fingerprint: str) -> User | None:
    row = tx.execute(
        "SELECT user.id, user.name, user.role FROM ssh_key JOIN user ON user.id = ssh_key.user_id"
        " WHERE fingerprint = ?",
        (fingerprint,),
    ).fetchone()
    return User(*row) if row else None


def of_user(tx: Tx, user_id: int) -> list[Key]:
    sql = f"SELECT {_COLUMNS} FROM ssh_key WHERE user_id = ? ORDER BY created_at"
    return [Key(*row) for row in tx.execute(sql, (user_id,))]


def all(tx: Tx) -> list[Key]:
    return [Key(*row) for row in tx.execute(f"SELECT {_COLUMNS} FROM ssh_key ORDER BY created_at")]


def remove(tx: Tx, fingerprint: str) -> None:
    """Raises NotFound."""
    tx.execute("DELETE FROM ssh_key WHERE fingerprint = ?", (fingerprint,))
    if not tx.changes():
        raise NotFound(f"There is no key {fingerprint}.", "`paas keys` lists them.")
