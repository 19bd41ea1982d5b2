"""Facts about the caller, and about this platform."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from flask import Blueprint

from paas.api.access import Access, needs, principal
from paas.api.context import context

routes = Blueprint("server", __name__)


@routes.get("/v1/whoami")
@needs(Access.USER)
def whoami() -> dict[str, Any]:
    who = principal()
    return {"user": who.name, "admin": who.is_admin, "via": who.via}


@routes.get("/v1/server")
@needs(Access.USER)
def server() -> dict[str, Any]:
    settings = context().settings
    return {
        "version": program_version(),
        "id": settings.id,
        "domain": settings.domain,
        "http": str(settings.http),
        "https": str(settings.https) if settings.https else None,
        "ssh": str(settings.ssh),
        "api": str(settings.api),
        "url": settings.url(settings.app_host("NAME")),
        "git_url": settings.git_url("NAME"),
    }


def program_version() -> str:
    try:
        return version("paas")
    except PackageNotFoundError:
        return "unknown"
