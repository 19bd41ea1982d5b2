"""Releases: list, show, roll back."""

from __future__ import annotations

import time
from typing import Any

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, alias, app_option, app_path, client, command, run_stream
from paas.cli.processes import limit_words
from paas.nouns.names import release_number
from paas.nouns.text import one_line


@command("releases")
@about_app
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
def releases(app: str, limit: int) -> Answer:
    """List releases, newest first."""
    answer = client().get(app_path(app, "releases"), limit=limit)
    yield answer["releases"]
    current = f" - Current: v{answer['current']}" if answer["current"] else ""
    now = time.time()
    rows = [
        [item["version"], _described(item), item["actor"], output.moment(item["created_at"], now)]
        for item in answer["releases"]
    ]
    output.listing(f"{app} Releases{current}", rows, ("VERSION", "CHANGE", "BY", "WHEN"), gap=True)


def _described(release: dict[str, Any]) -> str:
    state = "" if release["state"] == "succeeded" else f" ({release['state']})"
    return f"{release['description']}{state}"


@command("releases:info")
@click.argument("version", metavar="[vN]", required=False)
@app_option
def releases_info(version: str | None, app: str) -> Answer:
    """Show a release, by default the one that serves."""
    api = client()
    number = release_number(version) if version else api.get(app_path(app))["release"]
    info = api.get(app_path(app, "releases", number or 1))
    yield info
    output.heading(f"{app} Release {info['version']}" + (" (current)" if info["current"] else ""))
    output.pairs(
        {
            "Change": info["description"],
            "By": info["actor"],
            "When": output.moment(info["created_at"]),
            "State": info["state"] + (f", {info['cause']}" if info["cause"] else ""),
            "Commit": info["commit"] or "none",
            "From": info["origin"] or "git push",
            "Image": f"{info['image']} ({output.size(info['size_bytes'])})" if info["image"] else "none",
            "Stack": info["stack"],
            "Config": " ".join(info["config_names"]) or "none",
        }
    )
    for type, command_line in info["processes"].items():
        limits = " ".join(limit_words(info["limits"].get(type, {})))
        output.result(f"  {type}: {one_line(command_line)}" + (f" ({limits})" if limits else ""))


@command("rollback")
@click.argument("version", metavar="[vN]", required=False)
@app_option
def rollback(version: str | None, app: str) -> Answer:
    """Make a new release of an old one's image and config, by default the one before."""
    target = release_number(version) if version else None
    what = f"v{target}" if target else "the release before"
    with output.Progress(f"Rolling back {app} to {what}") as progress:
        body = {"to": target} if target else {}
        result = run_stream(progress, client().stream("POST", app_path(app, "rollback"), body))
        origin = "" if target else f" (from v{result['to']})"
        progress.done(f"done, {result['release']['version']}{origin}")
    yield result


alias("releases:rollback", rollback)
