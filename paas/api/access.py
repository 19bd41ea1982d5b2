"""Authentication and authorisation of every request, in this one place. What is not declared is denied."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, cast

from flask import g, request

from paas.api.context import Context, context
from paas.keys.proof import HEADER, Proof, Sessions
from paas.nouns.errors import Forbidden, NotFound, Unauthorized
from paas.nouns.model import App, Hook, User
from paas.nouns.names import shown
from paas.store import Tx, apps, hooks, people
from runtime.kernel.process import peer_uid

V = TypeVar("V", bound=Callable[..., Any])

ROOT = "root"
"""The name of root on the server's own socket; no user has it."""
TOKEN_PREFIX = "paas_"
_TOKEN = re.compile(rf"Bearer ({TOKEN_PREFIX}[A-Za-z0-9_-]{{43}})")
_LAST_USED_STEP_S = 60.0


class Access(Enum):
    """The callers that a route serves."""

    USER = "any user"
    APP = "the owner of the app in the address, or an administrator"
    ADMIN = "an administrator"
    GIT = "the git daemon"
    GIT_USER = "the git daemon, on behalf of a user"
    HOOK = "whoever knows the secret of the hook in the address; the view checks it"
    GIT_APP = "the git daemon, on behalf of a user who may touch the app in the address"


@dataclass(frozen=True)
class Principal:
    """The caller. `user` is None for root on the server's own socket, for the git daemon itself, and for a hook's forge."""

    name: str
    user: User | None
    is_admin: bool
    via: str

    def may_touch(self, app: App) -> bool:
        return self.is_admin or (self.user is not None and app.owner_id == self.user.id)


def needs(access: Access) -> Callable[[V], V]:
    """Declare a view's access. A view without it is denied to everybody."""

    def mark(view: V) -> V:
        view.access = access  # type: ignore[attr-defined]
        return view

    return mark


def check_request(view: Callable[..., Any] | None, arguments: dict[str, Any]) -> None:
    """Authenticate the caller, then authorise it for `view` with the `arguments` of the address. Raises PaasError."""
    access = getattr(view, "access", None)
    if access is Access.HOOK:
        g.hook, g.app = _known_hook(arguments["hook_id"])
        g.principal = Principal(f"hooks of {g.app.owner_id}", None, False, "hook")
        return
    g.principal = authenticate(context())
    if view is None:
        return
    if not isinstance(access, Access):
        raise Forbidden("Nobody may do that.")
    _authorise(g.principal, access)
    if access in (Access.APP, Access.GIT_APP):
        with context().store.read() as tx:
            g.app = visible_app(tx, arguments["app_name"])


def principal() -> Principal:
    """The caller of this request."""
    return cast(Principal, g.principal)


def the_app() -> App:
    """The app in the address, which the caller may touch, or that of the hook."""
    return cast(App, g.app)


def the_hook() -> Hook:
    """The hook in the address; nothing is known of the caller."""
    return cast(Hook, g.hook)


def hash_of_token(token: str) -> str:
    """What the store keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate(ctx: Context) -> Principal:
    """By peer credentials (and the proof of an SSH login) on the unix socket, by token over TCP. Raises Unauthorized."""
    sock = request.environ.get("gunicorn.socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return _local(ctx, peer_uid(sock))
    given = request.headers.get("Authorization", "")
    if not given:
        raise Unauthorized(
            "A token is needed.", "Make one on the server with `paas tokens:create`, then `paas login`."
        )
    match, found = _TOKEN.fullmatch(given), None
    if match is not None:
        with ctx.store.read() as tx:
            found = people.token_by_hash(tx, hash_of_token(match[1]))
    if found is None:
        raise Unauthorized("This token is not valid.", "It may have been revoked; see: paas login")
    token, user = found
    if token.last_used_at is None or time.time() - token.last_used_at > _LAST_USED_STEP_S:
        with ctx.store.write() as tx:
            people.token_used(tx, token.id)
    return Principal(user.name, user, user.is_admin, "token")


def _local(ctx: Context, uid: int) -> Principal:
    if uid in (0, os.geteuid()):
        return Principal(ROOT, None, True, "root")
    if uid != ctx.git_uid:
        raise Unauthorized(
            "This socket serves root and the platform's own users.", "Use `paas login URL` with a token."
        )
    text = request.headers.get(HEADER)
    if text is None:
        return Principal("git", None, False, "git")
    user = _proven(ctx, text)
    return Principal(user.name, user, user.is_admin, "git")


_sessions = Sessions()


def _proven(ctx: Context, text: str) -> User:
    """Return the user whose key signed the login; the name that the git server sends does not count. Raises Unauthorized."""
    try:
        proof = Proof.decode(text)
    except ValueError:
        raise Unauthorized("This is no proof of a login.") from None
    with ctx.store.read() as tx:
        key = people.key(tx, proof.fingerprint)
        user = people.user_of_key(tx, proof.fingerprint)
    if key is None or user is None or not proof.holds(key.public_key) or not _sessions.is_of(proof):
        raise Unauthorized("This login is not proven, or its key has been removed.", "Log in again.")
    return user


def _authorise(who: Principal, access: Access) -> None:
    if access in (Access.GIT, Access.GIT_USER, Access.GIT_APP):
        if who.via != "git":
            raise Forbidden("Only the git server may do that.")
        if access is not Access.GIT and who.user is None:
            raise Unauthorized("The user is missing.")
    elif who.user is None and not who.is_admin:
        raise Unauthorized("The user is missing.")
    elif access is Access.ADMIN and not who.is_admin:
        raise Forbidden("Only an administrator may do that.")


def _known_hook(id: str) -> tuple[Hook, App]:
    with context().store.read() as tx:
        hook = hooks.get(tx, id)
        app = apps.by_id(tx, hook.app_id) if hook else None
    if hook is None or app is None:
        raise NotFound("There is no such hook.")
    return hook, app


def lost_maker(tx: Tx, app: App, hook: Hook) -> str:
    """Why the hook deploys nothing: it has the rights of whoever made it. Empty while they have them, and a key or token."""
    if hook.created_by == ROOT:
        return ""
    maker = people.user_named(tx, hook.created_by)
    if maker is None or not Principal(maker.name, maker, maker.is_admin, "hook").may_touch(app):
        return f"refused: {hook.created_by}, who made it, may not touch {app.name} any more"
    if not people.keys_of(tx, maker.id) and not people.tokens_of(tx, maker.id):
        return f"refused: {maker.name}, who made it, has no key and no token any more"
    return ""


def refuse_former_name(tx: Tx, name: str) -> None:
    """Raises NotFound with the new name if an app of the caller had this name until recently."""
    app = apps.by_former_name(tx, name)
    if app is not None and principal().may_touch(app):
        url = context().settings.git_url(app.name)
        raise NotFound(
            f"The app {name} is called {app.name} now.",
            f"Use: -a {app.name}\nFor pushes: git remote set-url paas {url}",
            cause="renamed",
        )


def visible_app(tx: Tx, name: str) -> App:
    """The app, if the caller may touch it. Raises the same NotFound for an app of somebody else as for none."""
    app = apps.by_name(tx, name)
    if app is None or app.destroying or not principal().may_touch(app):
        refuse_former_name(tx, name)
        raise NotFound(f"There is no app {shown(name)}.", "See: paas apps")
    return app
