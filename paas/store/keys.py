"""Rows of `ssh_key`."""

from __future__ import annotations

from paas.nouns.errors import Conflict, NotFound
from paas.nouns.model import Key, User
from paas.store.database import Tx, now
from paas.store.table import Table
from paas.store.users import USERS

KEYS = Table("ssh_key", Key)


def add(tx: Tx, user_id: int, *, fingerprint: str, public_key: str, comment: str) -> Key:
    """Raises Conflict when the key belongs to somebody already."""
    if user_of(tx, fingerprint):
        raise Conflict(f"The key {fingerprint} is registered already.", "One key belongs to one user.")
    key = Key(fingerprint, user_id, public_key, comment, now())
    KEYS.insert(tx, vars(key))
    return key


def get(tx: Tx, fingerprint: str) -> Key | None:
    return KEYS.first(tx, "WHERE fingerprint = ?", (fingerprint,))


def user_of(tx: Tx, fingerprint: str) -> User | None:
    return USERS.first(tx, "WHERE id = (SELECT user_id FROM ssh_key WHERE fingerprint = ?)", (fingerprint,))


def of_user(tx: Tx, user_id: int) -> list[Key]:
    return KEYS.select(tx, "WHERE user_id = ? ORDER BY created_at", (user_id,))


def all(tx: Tx) -> list[Key]:
    return KEYS.select(tx, "ORDER BY created_at")


def remove(tx: Tx, fingerprint: str) -> None:
    """Raises NotFound."""
    tx.execute("DELETE FROM ssh_key WHERE fingerprint = ?", (fingerprint,))
    if not tx.changes():
        raise NotFound(f"There is no key {fingerprint}.", "`paas keys` lists them.")
