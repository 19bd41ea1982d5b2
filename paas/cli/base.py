"""What every command shares: how it is declared, which app it means, which platform it talks to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import click

from paas.cli import output
from paas.client import Client, find_target, part
from paas.errors import NotFound, Unavailable

REGISTRY: dict[str, click.Command] = {}
"""Name → command, filled as the modules of commands are imported."""

_REMOTE = re.compile(r"(?:ssh://(?:[^/@]*@)?[^/]+/|(?:[^/@:]+@)?[^/:]+:)/?([a-z][a-z0-9-]*?)(?:\.git)?/?")


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command of the flat group; the docstring's first sentence is its help line."""

    def declare(function: Callable[..., Any]) -> click.Command:
        made: click.Command = click.command(name, cls=click.Command, **attributes)(function)
        REGISTRY[name] = made
        return made

    return declare


def alias(name: str, original: click.Command) -> None:
    """Another name for a command."""
    made = click.Command(
        name,
        callback=original.callback,
        params=original.params,
        help=f"Another name for {original.name}.",
        context_settings=original.context_settings,
    )
    REGISTRY[name] = made


def app_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-a/--app`, else PAAS_APP, else the git remote `paas`; the function gets `app`."""
    return click.option(
        "-a",
        "--app",
        metavar="APP",
        default="",
        callback=lambda context, option, value: value if context.resilient_parsing else chosen_app(value),
        help="The app; else PAAS_APP, else the git remote «paas».",
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`; the function gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def chosen_app(given: str) -> str:
    """The app that is meant. Raises NotFound with the ways to name one."""
    name = given or os.environ.get("PAAS_APP") or (None if over_ssh() else app_of_remote(remote_url()))
    if not name:
        raise NotFound(
            "No app is named.",
            "Use -a APP."
            if over_ssh()
            else "Use -a APP, set PAAS_APP, or be in a folder with a git remote named paas.",
        )
    return name


def over_ssh() -> bool:
    """Is this command run by the SSH server on behalf of somebody elsewhere?"""
    return bool(os.environ.get("PAAS_SSH_USER"))


def app_of_remote(url: str) -> str | None:
    """The app in the address of a git remote, if it has that form.

    >>> app_of_remote("ssh://paas@127.0.0.1:2222/hello.git")
    'hello'
    """
    match = _REMOTE.fullmatch(url)
    return match[1] if match else None


def remote_url() -> str:
    """The address of the git remote `paas` here; empty without git, a repository or a remote."""
    import subprocess

    try:
        done = subprocess.run(
            ["git", "config", "--get", "remote.paas.url"], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()


def client() -> Client:
    """The platform that is meant, by the environment and the login."""
    return Client(find_target(os.environ))


def app_path(app: str, *parts: object) -> str:
    return "/".join(["/apps", part(app), *(part(item) for item in parts)])


def run_stream(
    progress: output.Progress, messages: Iterator[dict[str, Any]], *, details: bool = False
) -> dict[str, Any]:
    """Follow a stream to its end and give its result; warnings and waits are shown, with `details` every line."""
    for message in messages:
        if message.get("done"):
            return dict(message.get("result") or {})
        text = str(message.get("line", ""))
        if text.startswith((" !", "       Waiting")):
            progress.detail(text)
        elif details and text:
            progress.detail(text if text[:1] in " -=" else f"       {text}")
    raise Unavailable(
        "The platform hung up before the end; it may have gone on.", "See: paas releases, paas ps"
    )
