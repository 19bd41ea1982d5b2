"""Hooks: addresses at which a forge tells of pushes, so that they are deployed."""

from __future__ import annotations

import time

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, app_option, app_path, client, command
from paas.nouns.remoteurl import RemoteRepository
from paas.nouns.text import quoted


@command("hooks")
@about_app
def hooks(app: str) -> Answer:
    """List the hooks of an app, and what became of the last delivery."""
    found = client().get(app_path(app, "hooks"))["hooks"]
    yield found
    now = time.time()
    rows = [
        [
            item["id"],
            item["branch"],
            item["url"],
            item["created_by"],
            output.moment(item["heard_at"], now) if item["heard_at"] else "never",
            item["said"],
        ]
        for item in found
    ]
    output.listing(f"{app} Hooks", rows, ("HOOK", "BRANCH", "REPOSITORY", "BY", "HEARD", "OUTCOME"))


@command("hooks:create")
@click.argument("url")
@click.option("--branch", metavar="BRANCH", help="The branch whose pushes are deployed; else the app's own.")
@app_option
def hooks_create(url: str, branch: str | None, app: str) -> Answer:
    """Deploy each push to a repository elsewhere: make an address, and a secret that is shown once, for its forge.

    GitHub: a webhook with the content type application/json and the secret. Gitea and GitLab: the same.
    """
    shown = RemoteRepository.parse(url)
    with output.Progress(f"Creating a hook of {app} for {shown}") as progress:
        body = {"url": url, **({"branch": branch} if branch else {})}
        made = client().post(app_path(app, "hooks"), body)
        progress.done(f"done, it deploys {made['branch']}")
    yield made
    output.pairs({"Address": made["address"], "Secret": made["secret"]})
    if made["unreachable"]:
        output.warn(made["unreachable"])


@command("hooks:remove")
@click.argument("hook")
@app_option
def hooks_remove(hook: str, app: str) -> Answer:
    """Remove a hook; its address answers nobody any more."""
    with output.Progress(f"Removing hook {quoted(hook)} of {app}"):
        removed = client().delete(app_path(app, "hooks", hook))
    yield removed
