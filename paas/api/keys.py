"""SSH keys: whose is which. Adding the first key makes the first user, the administrator."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from paas.api.access import Access, needs, principal
from paas.api.bodies import body, text
from paas.api.context import context
from paas.api.shapes import key_json
from paas.api.users import meant, user_name
from paas.keys.publickey import parse
from paas.nouns.errors import Conflict, NotFound
from paas.store import events, keys, users

routes = Blueprint("keys", __name__)

_MOST = 100


@routes.get("/v1/keys")
@needs(Access.USER)
def list_keys() -> dict[str, Any]:
    who = principal()
    with context().store.read() as tx:
        found = keys.all(tx) if who.user is None or who.is_admin else keys.of_user(tx, who.user.id)
        return {"keys": [key_json(key, users.by_id(tx, key.user_id)) for key in found]}


@routes.post("/v1/keys")
@needs(Access.USER)
def add() -> tuple[dict[str, Any], int]:
    ctx, who = context(), principal()
    data = body(required={"public_key": lambda value: text(value, 65536)}, optional={"user": user_name})
    key = parse(data["public_key"])
    with ctx.store.write() as tx:
        user = meant(tx, who, data["user"], make=True)
        if len(keys.of_user(tx, user.id)) >= _MOST:
            raise Conflict(f"{user.name} has {_MOST} keys already.", "Remove one first; see: paas keys")
        added = keys.add(tx, user.id, fingerprint=key.fingerprint, public_key=key.text, comment=key.comment)
        events.add(tx, None, who.name, "key.add", {"user": user.name, "fingerprint": key.fingerprint})
    return {**key_json(added, user), "role": user.role}, 201


@routes.get("/v1/keys/<path:fingerprint>")
@needs(Access.GIT)
def whose(fingerprint: str) -> dict[str, Any]:
    with context().store.read() as tx:
        user = keys.user_of(tx, fingerprint)
    if user is None:
        raise NotFound("Nobody has this key.")
    return {"user": user.name}


@routes.delete("/v1/keys/<path:fingerprint>")
@needs(Access.USER)
def remove(fingerprint: str) -> dict[str, Any]:
    ctx, who = context(), principal()
    with ctx.store.write() as tx:
        key = keys.get(tx, fingerprint)
        if key is None or not (who.is_admin or (who.user and who.user.id == key.user_id)):
            raise NotFound("There is no such key.", "See: paas keys")
        keys.remove(tx, fingerprint)
        events.add(tx, None, who.name, "key.remove", {"fingerprint": fingerprint})
    return {"fingerprint": fingerprint}
