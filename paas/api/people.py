"""People: users, their SSH keys and their API tokens. The first key makes the first user, who is the administrator.

A token is 256 random bits, shown once; only its digest is kept.
"""

from __future__ import annotations

import secrets
from typing import Any

from flask import Blueprint

from paas.api.access import TOKEN_PREFIX, Access, Principal, hash_of_token, needs, principal
from paas.api.bodies import body, text
from paas.api.context import context
from paas.api.shapes import key_json, token_json, user_json
from paas.keys.publickey import parse
from paas.nouns.errors import BadInput, Conflict, Forbidden, NotFound
from paas.nouns.model import Token, User
from paas.nouns.names import TokenName, UserName, shown
from paas.store import Tx, events, people

routes = Blueprint("people", __name__)

FIRST_USER = "admin"
_RESERVED = ("root", "git", "paas")
_MOST_KEYS = _MOST_TOKENS = 100
"""Limits per user."""


@routes.get("/v1/users")
@needs(Access.ADMIN)
def list_users() -> dict[str, Any]:
    with context().store.read() as tx:
        return {"users": [user_json(user) for user in people.users(tx)]}


@routes.post("/v1/users")
@needs(Access.ADMIN)
def add_user() -> tuple[dict[str, Any], int]:
    data = body(required={"name": user_name}, optional={"role": _role})
    with context().store.write() as tx:
        role = data["role"] or ("member" if people.users(tx) else "admin")
        user = people.add_user(tx, data["name"], role)
        events.add(tx, None, principal().name, "user.add", {"name": user.name, "role": role})
    return user_json(user), 201


def user_name(value: object) -> UserName:
    """A user's name; those that the platform acts under are reserved. Raises BadInput."""
    name = UserName.parse(value)
    if name in _RESERVED:
        raise BadInput(f"The name {name} is reserved.", "Choose another name.")
    return name


def _role(value: object) -> str:
    if value not in ("admin", "member"):
        raise BadInput(f"{shown(value)} is not a role.", "It must be admin or member.")
    return str(value)


def first_administrator(tx: Tx) -> User | None:
    """Return the user as which root acts on the server itself."""
    admins = [user for user in people.users(tx) if user.is_admin]
    return min(admins, key=lambda user: user.id) if admins else None


def user_meant(tx: Tx, who: Principal, name: str | None, *, make: bool) -> User:
    """The user that a key or token is for: the named one, else the caller, else (for root) the first administrator.

    With `make`, a missing user is made when an administrator asks. Raises Forbidden, NotFound.
    """
    if who.user is not None and name in (None, who.user.name):
        return who.user
    if not who.is_admin:
        raise Forbidden("Only an administrator may do that for somebody else.")
    everybody = people.users(tx)
    if name is None:
        first = first_administrator(tx)
        if first is not None:
            return first
        name = FIRST_USER
    found = people.user_named(tx, name)
    if found is not None:
        return found
    if not make:
        raise NotFound(f"There is no user {name}.", "See: paas users")
    user = people.add_user(tx, name, "member" if everybody else "admin")
    events.add(tx, None, who.name, "user.add", {"name": user.name, "role": user.role})
    return user


@routes.get("/v1/keys")
@needs(Access.USER)
def list_keys() -> dict[str, Any]:
    who = principal()
    with context().store.read() as tx:
        found = people.keys(tx) if who.user is None or who.is_admin else people.keys_of(tx, who.user.id)
        return {"keys": [key_json(key, people.user(tx, key.user_id)) for key in found]}


@routes.post("/v1/keys")
@needs(Access.USER)
def add_key() -> tuple[dict[str, Any], int]:
    ctx, who = context(), principal()
    data = body(required={"public_key": lambda value: text(value, 65536)}, optional={"user": user_name})
    key = parse(data["public_key"])
    with ctx.store.write() as tx:
        user = user_meant(tx, who, data["user"], make=True)
        if len(people.keys_of(tx, user.id)) >= _MOST_KEYS:
            raise Conflict(f"{user.name} has {_MOST_KEYS} keys already.", "Remove one first; see: paas keys")
        added = people.add_key(
            tx, user.id, fingerprint=key.fingerprint, public_key=key.text, comment=key.comment
        )
        events.add(tx, None, who.name, "key.add", {"user": user.name, "fingerprint": key.fingerprint})
    return {**key_json(added, user), "role": user.role}, 201


@routes.get("/v1/keys/<path:fingerprint>")
@needs(Access.GIT)
def whose(fingerprint: str) -> dict[str, Any]:
    with context().store.read() as tx:
        user = people.user_of_key(tx, fingerprint)
    if user is None:
        raise NotFound("Nobody has this key.")
    return {"user": user.name}


@routes.delete("/v1/keys/<path:fingerprint>")
@needs(Access.USER)
def remove_key(fingerprint: str) -> dict[str, Any]:
    ctx, who = context(), principal()
    with ctx.store.write() as tx:
        key = people.key(tx, fingerprint)
        if key is None or not (who.is_admin or (who.user and who.user.id == key.user_id)):
            raise NotFound("There is no such key.", "See: paas keys")
        people.remove_key(tx, fingerprint)
        events.add(tx, None, who.name, "key.remove", {"fingerprint": fingerprint})
    return {"fingerprint": fingerprint}


@routes.get("/v1/tokens")
@needs(Access.USER)
def list_tokens() -> dict[str, Any]:
    with context().store.read() as tx:
        return {
            "tokens": [token_json(t, people.user(tx, t.user_id)) for t in _visible_tokens(tx, principal())]
        }


@routes.post("/v1/tokens")
@needs(Access.USER)
def create_token() -> tuple[dict[str, Any], int]:
    ctx, who = context(), principal()
    data = body(required={"name": TokenName.parse}, optional={"user": user_name})
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with ctx.store.write() as tx:
        user = user_meant(tx, who, data["user"], make=not data["user"])
        mine = people.tokens_of(tx, user.id)
        if len(mine) >= _MOST_TOKENS:
            raise Conflict(
                f"{user.name} has {_MOST_TOKENS} tokens already.", "Revoke one first; see: paas tokens"
            )
        if any(token.name == data["name"] for token in mine):
            raise Conflict(
                f"{user.name} has a token {data['name']} already.", "Choose another name, or revoke it."
            )
        token = people.add_token(tx, user.id, hash=hash_of_token(secret), name=data["name"])
        events.add(tx, None, who.name, "token.create", {"user": user.name, "name": token.name})
    return {**token_json(token, user), "token": secret}, 201


@routes.delete("/v1/tokens/<reference>")
@needs(Access.USER)
def revoke_token(reference: str) -> dict[str, Any]:
    """By id or by name; a name that several users chose needs the id."""
    ctx, who = context(), principal()
    with ctx.store.write() as tx:
        found = [t for t in _visible_tokens(tx, who) if reference in (str(t.id), t.name)]
        if not found:
            raise NotFound("There is no such token.", "See: paas tokens")
        if len(found) > 1:
            raise Conflict(f"{len(found)} tokens are meant.", "Give the id instead; see: paas tokens")
        people.remove_token(tx, found[0].id)
        events.add(tx, None, who.name, "token.remove", {"name": found[0].name})
    return {"id": found[0].id, "name": found[0].name}


def _visible_tokens(tx: Tx, who: Principal) -> list[Token]:
    if who.user is not None and not who.is_admin:
        return people.tokens_of(tx, who.user.id)
    return [token for user in people.users(tx) for token in people.tokens_of(tx, user.id)]
