"""Builds: list, show, and what they printed."""

from __future__ import annotations

import time
from typing import Any

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, app_option, app_path, client, command
from paas.nouns.errors import NotFound


@command("builds")
@about_app
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
def builds(app: str, limit: int) -> Answer:
    """List builds, newest first."""
    found = client().get(app_path(app, "builds"), limit=limit)["builds"]
    yield found
    now = time.time()
    rows = [
        [
            str(item["number"]),
            item["commit"][:8],
            _outcome(item),
            item["actor"],
            output.moment(item["started_at"], now),
        ]
        for item in found
    ]
    output.listing(f"{app} Builds", rows, ("BUILD", "COMMIT", "OUTCOME", "BY", "STARTED"), gap=True)


def _outcome(build: dict[str, Any]) -> str:
    took = f" in {build['finished_at'] - build['started_at']:.1f} s" if build["finished_at"] else ""
    return f"{build['status']}{': ' if build['cause'] else ''}{build['cause']}{took}"


@command("builds:info")
@click.argument("number", type=click.IntRange(1), required=False)
@app_option
def builds_info(number: int | None, app: str) -> Answer:
    """Show a build, by default the newest."""
    api = client()
    info = api.get(app_path(app, "builds", number or _newest(api, app)))
    yield info
    output.heading(f"{app} Build {info['number']}")
    output.pairs(
        {
            "Commit": info["commit"],
            "Tree": info["tree"],
            "By": info["actor"],
            "Outcome": _outcome(info),
            "Image": info["image"] or "none",
            "Started": output.moment(info["started_at"]),
        }
    )


@command("builds:output")
@click.argument("number", type=click.IntRange(1), required=False)
@app_option
def builds_output(number: int | None, app: str) -> Answer:
    """Print what a build printed, by default the newest."""
    api = client()
    number = number or _newest(api, app)
    text = api.text(app_path(app, "builds", number, "output"))
    yield {"number": number, "output": text}
    output.result(text.rstrip("\n"))


def _newest(api: Any, app: str) -> int:
    found = api.get(app_path(app, "builds"), limit=1)["builds"]
    if not found:
        raise NotFound(f"{app} was never built.", "Push it: git push paas main")
    return int(found[0]["number"])
