"""The canary: another release that gets a share of an app's requests."""

from __future__ import annotations

from typing import Any

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, app_option, app_path, client, command, run_stream
from paas.nouns.names import MAX_QUANTITY, release_number


class Percent(click.IntRange):
    """A whole number, with or without its sign."""

    name = "percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: Any = str(value).removesuffix("%")
        return int(super().convert(number, param, ctx))


_SHARE = Percent(0, 100)


@command("canary")
@click.argument("version", metavar="[vN]", required=False)
@click.option("--share", type=_SHARE, metavar="PERCENT", help="Of the requests that go there; 10 at first.")
@click.option("--count", type=click.IntRange(1, MAX_QUANTITY), help="Its web instances; 1 at first.")
@app_option
def canary(version: str | None, share: int | None, count: int | None, app: str) -> Answer:
    """Run an earlier release beside the serving one, for a share of the requests; without vN, show it."""
    if version is None and (share is not None or count is not None):
        click.get_current_context().fail("No release is named. A canary that runs has canary:share.")
    if version is None:
        return (yield from _show(app, client().get(app_path(app, "canary"))))
    wanted = {"release": release_number(version), "share": share, "quantity": count}
    yield _change(f"Starting canary v{wanted['release']} of {app}", app, wanted)


@command("canary:share")
@click.argument("percent", type=_SHARE)
@app_option
def canary_share(percent: int, app: str) -> Answer:
    """Change the canary's share of the requests: 0 to 100 percent."""
    yield _change(f"Changing the canary's share in {app}", app, {"share": percent})


def _change(doing: str, app: str, wanted: dict[str, Any]) -> dict[str, Any]:
    with output.Progress(doing) as progress:
        body = {key: value for key, value in wanted.items() if value is not None}
        result = run_stream(progress, client().stream("POST", app_path(app, "canary"), body))
        now = result["canary"]
        if now is None:
            progress.done("the canary was ended meanwhile")
        else:
            progress.applied(result, f"done, v{now['release']} gets {now['share']} % of the requests")
    return result


@command("canary:promote")
@about_app
def canary_promote(app: str) -> Answer:
    """Serve all requests by the canary's release: a new release of its image and config."""
    with output.Progress(f"Promoting the canary of {app}") as progress:
        result = run_stream(progress, client().stream("POST", app_path(app, "canary", "promote"), {}))
        version, tried = result["release"]["version"], f"v{result['promoted']}"
        progress.done(f"done, {version}" + ("" if version == tried else f" (from {tried})"))
    yield result


@command("canary:stop")
@about_app
def canary_stop(app: str) -> Answer:
    """Stop the canary: the serving release gets all requests."""
    with output.Progress(f"Stopping the canary of {app}") as progress:
        result = client().delete(app_path(app, "canary"))
        progress.applied(result, f"done, v{result['release']} gets all requests")
    yield result


def _show(app: str, answer: dict[str, Any]) -> Answer:
    yield answer
    if answer["canary"] is None:
        return output.note(f"{app} has no canary.")
    output.heading(
        f"{app} Canary v{answer['canary']['release']} since {output.moment(answer['canary']['created_at'])}"
    )
    output.table(
        [
            side["role"],
            f"v{side['release']}",
            f"{side['share']} %",
            f"{len(side['up'])} of {side['quantity']} up",
            _count(side["requests"], "request"),
            _count(side["errors"], "error"),
        ]
        for side in answer["sides"]
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
