"""Rows of `user`, and of their `token` and `ssh_key`. Of an API token only the SHA-256 is kept."""

from __future__ import annotations

from paas.nouns.errors import Conflict, NotFound
from paas.nouns.model import Key, Token, User
from paas.store.database import Tx, now
from paas.store.table import Table

USERS = Table("user", User)
TOKENS = Table("token", Token)
KEYS = Table("ssh_key", Key)


def add_user(tx: Tx, name: str, role: str) -> User:
    """`role` is admin or member. Raises Conflict when the name is taken."""
    if user_named(tx, name):
        raise Conflict(f"There is a user {name} already.")
    USERS.insert(tx, {"name": name, "role": role, "created_at": now()})
    return User(tx.last_insert_rowid(), name, role)


def user_named(tx: Tx, name: str) -> User | None:
    return USERS.find(tx, name=name)


def user(tx: Tx, id: int) -> User | None:
    return USERS.find(tx, id=id)


def users(tx: Tx) -> list[User]:
    return USERS.select(tx, "ORDER BY name")


def add_token(tx: Tx, user_id: int, *, hash: str, name: str) -> Token:
    """`hash` is the SHA-256 of the secret, in hexadecimal."""
    at = now()
    TOKENS.insert(tx, {"user_id": user_id, "hash": hash, "name": name, "created_at": at})
    return Token(tx.last_insert_rowid(), user_id, name, at, None)


def token_by_hash(tx: Tx, hash: str) -> tuple[Token, User] | None:
    """The token and whose it is."""
    token = TOKENS.find(tx, hash=hash)
    owner = user(tx, token.user_id) if token is not None else None
    return None if token is None or owner is None else (token, owner)


def token_used(tx: Tx, id: int) -> None:
    tx.execute("UPDATE token SET last_used_at = ? WHERE id = ?", (now(), id))


def tokens_of(tx: Tx, user_id: int) -> list[Token]:
    return TOKENS.select(tx, "WHERE user_id = ? ORDER BY id", (user_id,))


def remove_token(tx: Tx, id: int) -> None:
    """Raises NotFound."""
    if not TOKENS.delete(tx, id=id):
        raise NotFound("There is no such token.", "`paas tokens` lists them.")


def add_key(tx: Tx, user_id: int, *, fingerprint: str, public_key: str, comment: str) -> Key:
    """Raises Conflict when the key belongs to somebody already."""
    if user_of_key(tx, fingerprint):
        raise Conflict(f"The key {fingerprint} is registered already.", "One key belongs to one user.")
    added = Key(fingerprint, user_id, public_key, comment, now())
    KEYS.insert(tx, vars(added))
    return added


def key(tx: Tx, fingerprint: str) -> Key | None:
    return KEYS.find(tx, fingerprint=fingerprint)


def user_of_key(tx: Tx, fingerprint: str) -> User | None:
    return USERS.first(tx, "WHERE id = (SELECT user_id FROM ssh_key WHERE fingerprint = ?)", (fingerprint,))


def keys_of(tx: Tx, user_id: int) -> list[Key]:
    return KEYS.select(tx, "WHERE user_id = ? ORDER BY created_at", (user_id,))


def keys(tx: Tx) -> list[Key]:
    return KEYS.select(tx, "ORDER BY created_at")


def remove_key(tx: Tx, fingerprint: str) -> None:
    """Raises NotFound."""
    if not KEYS.delete(tx, fingerprint=fingerprint):
        raise NotFound(f"There is no key {fingerprint}.", "`paas keys` lists them.")
