"""Apps: create, list, show, rename, destroy, open."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click

from paas.cli import output
from paas.cli.base import (
    APP_SENTENCE,
    Answer,
    about_app,
    alias,
    app_option,
    app_path,
    chosen_app,
    client,
    command,
    one_app,
    remote_url,
)
from paas.cli.inputs import read_line
from paas.nouns.errors import BadInput
from paas.nouns.text import quoted

REMOTE = "paas"


@command("create")
@click.argument("name", required=False)
@click.option("--no-remote", is_flag=True, help="Do not add the git remote «paas».")
def create(name: str | None, no_remote: bool) -> Answer:
    """Create an app, and the git remote «paas» in this repository. Without a name one is made up."""
    with output.Progress(f"Creating {name or 'app'}") as progress:
        app = client().post("/apps", {} if name is None else {"name": name})
        progress.done("done" if name else f"done, {app['name']}")
    if not no_remote and not output.over_ssh():
        _add_remote(app["git_url"])
    yield from _addresses(app)


alias("apps:create", create)


def _addresses(app: dict[str, Any]) -> Answer:
    yield app
    output.result(f"{app['url']} | {app['git_url']}")


def _add_remote(url: str) -> None:
    if not _git("rev-parse", "--is-inside-work-tree"):
        return
    present = remote_url()
    if present and present != url:
        output.warn(f"The git remote {REMOTE} leads to {present}; it was left as it is.")
        output.warn(f"To change it: git remote set-url {REMOTE} {url}")
    elif not present and _git("remote", "add", REMOTE, url):
        output.note(f"Git remote {REMOTE} added. Push with: git push {REMOTE} main")


def _git(*words: str) -> bool:
    try:
        return subprocess.run(["git", *words], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@command("apps")
def apps() -> Answer:
    """List your apps."""
    found = client().get("/apps")["apps"]
    yield found
    rows = [[app["name"], _version(app), app["url"], app["owner"] or ""] for app in found]
    output.listing("Apps", rows, ("NAME", "RELEASE", "URL", "OWNER"), gap=True)


@command("apps:info")
@about_app
def apps_info(app: str) -> Answer:
    """Show an app: its addresses, release, processes."""
    info = client().get(app_path(app))
    yield info
    routing = client().get(app_path(app, "routing"))["routing"]["app"]["settings"]
    output.heading(info["name"])
    processes = " ".join(f"{item['type']}={item['quantity']}" for item in info["processes"])
    output.pairs(
        {
            "URL": info["url"],
            "Domains": " ".join(info["domains"]) or "none",
            "Git": info["git_url"],
            "Deploys": info["deploy_branch"],
            "Release": _version(info),
            "Processes": processes or "none",
            "Routing": quoted(" ".join(f"{name}={value}" for name, value in routing.items())) or "defaults",
            "Image": output.size(info.get("size_bytes")),
            "Stack": info["stack"],
            "Owner": info["owner"] or "nobody",
            "Created": output.moment(info["created_at"]),
            "Id": info["id"],
        }
    )


@command("apps:rename")
@click.argument("words", metavar="[APP] NAME", nargs=-1, required=True)
@click.option("-a", "--app", metavar="APP", default="", help=APP_SENTENCE)
def apps_rename(words: tuple[str, ...], app: str) -> Answer:
    """Give an app another name; its address and git address change with it.

    For 30 days, commands and pushes that use the old name are refused with the new one.
    """
    if len(words) > 2:
        click.get_current_context().fail("Give the new name, or the old one and the new one.")
    app, name = chosen_app(one_app(words[0] if words[1:] else None, app)), words[-1]
    with output.Progress(f"Renaming {app} to {name}"):
        info = client().patch(app_path(app), {"name": name})
    if not output.over_ssh() and remote_url().removesuffix(".git").endswith(f"/{app}"):
        _git("remote", "set-url", REMOTE, info["git_url"])
        output.note(f"Git remote {REMOTE} updated.")
    yield from _addresses(info)


@command("apps:branch")
@click.argument("branch", required=False)
@app_option
def apps_branch(branch: str | None, app: str) -> Answer:
    """Show or set the branch whose pushes are deployed."""
    if branch is None:
        found = client().get(app_path(app))["deploy_branch"]
        yield {"deploy_branch": found}
        return output.result(found)
    with output.Progress(f"Deploying {app} from {quoted(branch)}"):
        info = client().patch(app_path(app), {"deploy_branch": branch})
    yield {"deploy_branch": info["deploy_branch"]}


@command("apps:destroy")
@about_app
@click.option("--confirm", metavar="APP", help="The app's name, instead of typing it when asked.")
def apps_destroy(app: str, confirm: str | None) -> Answer:
    """Destroy an app with everything it owns: releases, images, config, domains, logs, repository."""
    api = client()
    info = api.get(app_path(app))
    if confirm is None:
        confirm = typed_confirmation(
            f"This destroys {app} with its releases, config, domains, logs and repository.", info["name"]
        )
    if confirm != info["name"]:
        raise BadInput(
            f"{quoted(confirm)} is not {info['name']}: nothing was destroyed.",
            f"Confirm with: --confirm {info['name']}",
        )
    with output.Progress(f"Destroying {app}") as progress:
        answer: dict[str, Any] = api.delete(app_path(app), {"confirm": confirm})
        progress.done("done" if answer.get("destroyed", True) else "the last parts are being removed")
    if not output.over_ssh() and remote_url().removesuffix(".git") == info["git_url"]:
        _git("remote", "remove", REMOTE)
        output.note(f"Git remote {REMOTE} removed.")
    yield answer


def typed_confirmation(consequence: str, expected: str) -> str:
    """Say what will happen, and read the name that confirms it. Raises BadInput when nobody types."""
    output.warn(consequence)
    output.ask(f"Type {expected} to go on: ")
    line = read_line("The confirmation")
    if not line:
        output.note("")
        raise BadInput("Not confirmed: nothing was done.", f"Confirm with: --confirm {expected}")
    return line.strip()


alias("destroy", apps_destroy)


@command("open")
@about_app
def open_(app: str) -> Answer:
    """Open an app in the browser; prints its address."""
    url = client().get(app_path(app))["url"]
    yield {"url": url}
    output.result(url)
    if sys.stdout.isatty():
        click.launch(url)


def _version(app: dict[str, Any]) -> str:
    return f"v{app['release']}" if app["release"] else "not deployed"
