"""Config vars: a change is a new release."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body, dict_of, list_of, query, text
from paas.api.context import context
from paas.api.releasing import deploy
from paas.nouns.errors import BadInput, NotFound
from paas.nouns.model import App
from paas.nouns.names import ConfigName, check_config, config_value, release_number, shown
from paas.release.change import SetConfig
from paas.store import Tx, configs, releases

routes = Blueprint("config", __name__)


def current(tx: Tx, app: App) -> dict[str, str]:
    """The config vars of the serving release."""
    return configs.of(tx, releases.serving(tx, app))


@routes.get("/v1/apps/<app_name>/config")
@needs(Access.APP)
def show(app_name: str) -> dict[str, Any]:
    app = the_app()
    number = query({"release": release_number})["release"]
    with context().store.read() as tx:
        if number is None:
            return {"vars": current(tx, app)}
        release = releases.get(tx, app.id, number)
        if release is None:
            raise NotFound(f"{app.name} has no release v{number}.", "See: paas releases")
        if not configs.kept(tx, app.id, release.config_number):
            raise NotFound(f"The config vars of v{number} are no longer kept.", "See: paas releases")
        return {"vars": configs.get(tx, app.id, release.config_number)}


@routes.patch("/v1/apps/<app_name>/config")
@needs(Access.APP)
def change(app_name: str) -> Response:
    app, who, ctx = the_app(), principal(), context()
    data = body(
        optional={
            "set": dict_of(ConfigName.parse, lambda value: value),
            "unset": list_of(text, 1000),
        }
    )
    wanted: dict[str, str] = {name: config_value(name, value) for name, value in (data["set"] or {}).items()}
    unwanted = tuple(dict.fromkeys(data["unset"] or ()))
    if not wanted and not unwanted:
        raise BadInput("No config var is named.", "Name at least one.")
    with ctx.store.read() as tx:
        vars = current(tx, app)
    missing = [name for name in unwanted if name not in vars]
    if missing:
        raise BadInput(
            f"{_list([_named(name) for name in missing])} {'are' if missing[1:] else 'is'} not set.",
            "See: paas config",
        )
    both = [name for name in unwanted if name in wanted]
    if both:
        raise BadInput(f"{_list(both)} is both set and unset.")
    check_config({**{name: value for name, value in vars.items() if name not in unwanted}, **wanted})
    words = [f"{verb} {_list(list(some))}" for verb, some in (("Set", wanted), ("Unset", unwanted)) if some]
    description = " and ".join(words) + " config vars"

    def result(tx: Tx, app: App) -> dict[str, Any]:
        return {"vars": current(tx, app)}

    change = SetConfig(actor=who.name, description=description, set_vars=wanted, unset_vars=unwanted)
    return deploy(ctx, app, change, result)


def _named(name: str) -> str:
    return name if ConfigName.pattern.fullmatch(name) else shown(name)


def _list(names: list[str]) -> str:
    shown = sorted(names)
    if len(shown) > 5:
        return f"{', '.join(shown[:4])} and {len(shown) - 4} more"
    return ", ".join(shown)
