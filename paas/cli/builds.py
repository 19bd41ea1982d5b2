"""Builds: list, show, what they printed, and their settings."""

from __future__ import annotations

import time
from typing import Any

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, app_option, app_path, client, command, run_stream
from paas.nouns.buildsettings import DEFAULTS, SETTINGS
from paas.nouns.errors import BadInput, NotFound
from paas.nouns.text import quoted


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
            item["commit"][:8] or item["origin"],
            _outcome(item),
            item["actor"],
            output.moment(item["started_at"], now),
        ]
        for item in found
    ]
    output.listing(f"{app} Builds", rows, ("BUILD", "COMMIT", "OUTCOME", "BY", "STARTED"), gap=True)


def _outcome(build: dict[str, Any]) -> str:
    took = f" in {build['finished_at'] - build['started_at']:.1f} s" if build["finished_at"] else ""
    status, cause = build["status"], build["cause"]
    if status == "running":
        return f"waiting for {build['waiting_for']}" if build["waiting_for"] else "building"
    how = cause if cause.startswith(status) else f"{status}: {cause}" if cause else status
    return f"{how}{took}"


@command("builds:cancel")
@click.argument("number", type=click.IntRange(1), required=False)
@app_option
def builds_cancel(number: int | None, app: str) -> Answer:
    """Cancel a build that runs or waits, by default the newest; whoever pushed reads who did it."""
    api = client()
    number = number or _newest(api, app)
    with output.Progress(f"Cancelling build {number} of {app}"):
        result = api.post(app_path(app, "builds", number, "cancel"), {})
    yield result


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
            "Commit": info["commit"] or "none",
            "From": info["origin"] or "git push",
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


@command("builds:get")
@about_app
def builds_get(app: str) -> Answer:
    """Show the settings of an app's builds, unset ones with their defaults."""
    answer = client().get(app_path(app, "builds", "settings"))
    yield answer["settings"]
    output.heading(f"{app} Builds")
    _show_settings(answer)


@command(
    "builds:set",
    help="Set how an app is built, from its next build on; an empty value takes a setting back.\n\n"
    + "\n\n".join(f"- {row.name} (else {row.default}): {row.sentence}" for row in SETTINGS),
)
@click.argument("words", metavar="KEY=VALUE...", nargs=-1, required=True)
@app_option
def builds_set(words: tuple[str, ...], app: str) -> Answer:
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in DEFAULTS:
            raise BadInput(
                f"{quoted(word)} sets nothing.", f"Write KEY=VALUE; the keys are {', '.join(DEFAULTS)}."
            )
        values[name] = value
    with output.Progress(f"Setting {', '.join(values)} for builds of {app}") as progress:
        answer = client().patch(app_path(app, "builds", "settings"), values)
        progress.done("done, the next build takes it")
    yield answer["settings"]
    _show_settings(answer)


@command("ps:rebuild")
@about_app
def ps_rebuild(app: str) -> Answer:
    """Build the source of the serving release again, with the settings and config vars of now, and deploy it."""
    result = _build_again(f"Rebuilding {app}", app, deploy=True)
    yield result


@command("build")
@about_app
def build(app: str) -> Answer:
    """Build the source of the serving release again without deploying it; prints the image's digest."""
    result = _build_again(f"Building {app}", app, deploy=False)
    yield result
    output.result(result["image"])


def _build_again(doing: str, app: str, *, deploy: bool) -> dict[str, Any]:
    with output.Progress(doing) as progress:
        messages = client().stream("POST", app_path(app, "builds"), {"deploy": deploy})
        result = run_stream(progress, messages)
        progress.done(f"done, v{result['release']}" if deploy else f"done, build {result['build']}")
    return result


def _show_settings(answer: dict[str, Any]) -> None:
    settings = answer["settings"]
    output.pairs(
        {name: settings.get(name, f"{value} (default)") for name, value in answer["defaults"].items()}
    )


def _newest(api: Any, app: str) -> int:
    found = api.get(app_path(app, "builds"), limit=1)["builds"]
    if not found:
        raise NotFound(f"{app} was never built.", "Push it: git push paas main")
    return int(found[0]["number"])
