"""API tokens: 256 random bits, shown once; only their digest is kept."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Blueprint

from paas.api.access import TOKEN_PREFIX, Access, Principal, hash_of_token, needs, principal
from paas.api.bodies import body
from paas.api.context import context
from paas.api.shapes import token_json
from paas.api.users import meant, user_name
from paas.nouns.errors import Conflict, NotFound
from paas.nouns.model import Token
from paas.nouns.names import TokenName
from paas.store import Tx, events, tokens, users

routes = Blueprint("tokens", __name__)

_MOST = 100


@routes.get("/v1/tokens")
@needs(Access.USER)
def list_tokens() -> dict[str, Any]:
    with context().store.read() as tx:
        return {"tokens": [token_json(t, users.by_id(tx, t.user_id)) for t in _visible(tx, principal())]}


@routes.post("/v1/tokens")
@needs(Access.USER)
def create() -> tuple[dict[str, Any], int]:
    ctx, who = context(), principal()
    data = body(required={"name": TokenName.parse}, optional={"user": user_name})
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with ctx.store.write() as tx:
        user = meant(tx, who, data["user"], make=not data["user"])
        mine = tokens.of_user(tx, user.id)
        if len(mine) >= _MOST:
            raise Conflict(f"{user.name} has {_MOST} tokens already.", "Revoke one first; see: paas tokens")
        if any(token.name == data["name"] for token in mine):
            raise Conflict(
                f"{user.name} has a token {data['name']} already.", "Choose another name, or revoke it."
            )
        token = tokens.add(tx, user.id, hash=hash_of_token(secret), name=data["name"])
        events.add(tx, None, who.name, "token.create", {"user": user.name, "name": token.name})
    return {**token_json(token, user), "token": secret}, 201


@routes.delete("/v1/tokens/<reference>")
@needs(Access.USER)
def remove(reference: str) -> dict[str, Any]:
    """By id or by name; a name that several users gave is told apart by its id."""
    ctx, who = context(), principal()
    with ctx.store.write() as tx:
        found = [t for t in _visible(tx, who) if reference in (str(t.id), t.name)]
        if not found:
            raise NotFound("There is no such token.", "See: paas tokens")
        if len(found) > 1:
            raise Conflict(f"{len(found)} tokens are meant.", "Give the id instead; see: paas tokens")
        tokens.remove(tx, found[0].id)
        events.add(tx, None, who.name, "token.remove", {"name": found[0].name})
    return {"id": found[0].id, "name": found[0].name}


def _visible(tx: Tx, who: Principal) -> list[Token]:
    if who.user is not None and not who.is_admin:
        return tokens.of_user(tx, who.user.id)
    return [token for user in users.all(tx) for token in tokens.of_user(tx, user.id)]
