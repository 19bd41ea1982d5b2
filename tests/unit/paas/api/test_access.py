"""Who may do what: nothing without a declaration, and each kind of access for the right callers alone."""

from __future__ import annotations

import pytest
from harness.flask_api import FlaskApi

from paas.api.access import Access, Principal, _authorise, needs
from paas.api.app import create_app
from paas.nouns.errors import Forbidden, Unauthorized
from paas.nouns.model import User

ANN = User(1, "ann", "member")
ROOT = Principal("root", None, True, "root")
GIT = Principal("git", None, False, "git")
MEMBER = Principal("ann", ANN, False, "token")
PUSHER = Principal("ann", ANN, False, "git")
ADMIN = Principal("eve", User(2, "eve", "admin"), True, "token")


@pytest.mark.parametrize(
    ("access", "allowed"),
    [
        (
            Access.USER,
            (
                ROOT,
                MEMBER,
                PUSHER,
                ADMIN,
            ),
        ),
        (
            Access.APP,
            (
                ROOT,
                MEMBER,
                PUSHER,
                ADMIN,
            ),
        ),
        (
            Access.ADMIN,
            (
                ROOT,
                ADMIN,
            ),
        ),
        (
            Access.GIT,
            (
                GIT,
                PUSHER,
            ),
        ),
        (Access.GIT_USER, (PUSHER,)),
        (Access.GIT_APP, (PUSHER,)),
    ],
    ids=["user", "app", "admin", "git", "git user", "git app"],
)
def test_each_access_has_its_callers(access: Access, allowed: tuple[Principal, ...]) -> None:
    for caller in (ROOT, GIT, MEMBER, PUSHER, ADMIN):
        try:
            _authorise(caller, access)
        except (Forbidden, Unauthorized):
            assert caller not in allowed, caller
        else:
            assert caller in allowed, caller


def test_every_route_declares_its_access(api: FlaskApi) -> None:
    views = api.application.view_functions
    assert len(views) > 40
    assert [
        name for name, view in views.items() if not isinstance(getattr(view, "access", None), Access)
    ] == []


def test_a_route_without_a_declaration_is_nobodys(api: FlaskApi) -> None:
    application = create_app(api.context)
    application.add_url_rule("/v1/open", "open", lambda: {"open": True})
    reply = FlaskApi.asked(application, "GET", "/v1/open", environ=api.as_root)
    assert (reply.status, reply.error["message"]) == (403, "Nobody may do that.")
    application.view_functions["open"] = needs(Access.USER)(application.view_functions["open"])
    assert FlaskApi.asked(application, "GET", "/v1/open", environ=api.as_root).json == {"open": True}


def test_over_the_network_nobody_is_root(api: FlaskApi) -> None:
    reply = FlaskApi.asked(api.application, "GET", "/v1/whoami", environ={})
    assert (reply.status, reply.error["message"]) == (401, "A token is needed.")
