"""Users. The first one is the administrator."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from paas.api.access import Access, Principal, needs, principal
from paas.api.bodies import body
from paas.api.context import context
from paas.api.shapes import user_json
from paas.nouns.errors import BadInput, Forbidden, NotFound
from paas.nouns.model import User
from paas.nouns.names import UserName, shown
from paas.store import Tx, events, users

routes = Blueprint("users", __name__)

FIRST_USER = "admin"
_RESERVED = ("root", "git", "paas")


@routes.get("/v1/users")
@needs(Access.ADMIN)
def list_users() -> dict[str, Any]:
    with context().store.read() as tx:
        return {"users": [user_json(user) for user in users.all(tx)]}


@routes.post("/v1/users")
@needs(Access.ADMIN)
def add() -> tuple[dict[str, Any], int]:
    data = body(required={"name": user_name}, optional={"role": _role})
    with context().store.write() as tx:
        role = data["role"] or ("member" if users.all(tx) else "admin")
        user = users.add(tx, data["name"], role)
        events.add(tx, None, principal().name, "user.add", {"name": user.name, "role": role})
    return user_json(user), 201


def user_name(value: object) -> UserName:
    """A user's name; those of the platform's own voices are kept. Raises BadInput."""
    name = UserName.parse(value)
    if name in _RESERVED:
        raise BadInput(f"The name {name} is reserved.", "Choose another name.")
    return name


def _role(value: object) -> str:
    if value not in ("admin", "member"):
        raise BadInput(f"{shown(value)} is not a role.", "It must be admin or member.")
    return str(value)


def first_administrator(tx: Tx) -> User | None:
    """Who root's deeds on the server itself are for."""
    admins = [user for user in users.all(tx) if user.is_admin]
    return min(admins, key=lambda user: user.id) if admins else None


def meant(tx: Tx, who: Principal, name: str | None, *, make: bool) -> User:
    """The user something is for: the named one, else the caller, else (root) the first administrator.

    With `make`, an administrator's call makes a user that is not there yet. Raises Forbidden, NotFound.
    """
    if who.user is not None and name in (None, who.user.name):
        return who.user
    if not who.is_admin:
        raise Forbidden("Only an administrator may do that for somebody else.")
    everybody = users.all(tx)
    if name is None:
        first = first_administrator(tx)
        if first is not None:
            return first
        name = FIRST_USER
    found = users.by_name(tx, name)
    if found is not None:
        return found
    if not make:
        raise NotFound(f"There is no user {name}.", "See: paas users")
    user = users.add(tx, name, "member" if everybody else "admin")
    events.add(tx, None, who.name, "user.add", {"name": user.name, "role": user.role})
    return user
