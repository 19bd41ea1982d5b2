"""Settings of an app's builds."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from paas.api.access import Access, needs, the_app
from paas.api.bodies import body, text
from paas.api.edit import edit
from paas.nouns.buildsettings import DEFAULTS, changed
from paas.store import apps

routes = Blueprint("builds", __name__)


@routes.get("/v1/apps/<app_name>/builds/settings")
@needs(Access.APP)
def show_settings(app_name: str) -> dict[str, Any]:
    return {"settings": the_app().build_settings, "defaults": DEFAULTS}


@routes.patch("/v1/apps/<app_name>/builds/settings")
@needs(Access.APP)
def change_settings(app_name: str) -> dict[str, Any]:
    """The next build takes them; a build that has begun and the releases stay as they are."""
    app = the_app()
    given = body(optional=dict.fromkeys(DEFAULTS, text))
    changes = {name: value for name, value in given.items() if value is not None}
    with edit(app) as change:
        settings = changed(apps.get(change.tx, app.id).build_settings, changes)
        apps.set_build_settings(change.tx, app.id, settings)
        change.record("builds.set", settings, f"Set {', '.join(changes)} for builds")
    return {"settings": settings, "defaults": DEFAULTS}
