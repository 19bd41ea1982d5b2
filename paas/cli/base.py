"""What every command shares: how it is declared, which app it means, which platform it talks to."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import click

from paas.cli import output
from paas.cli.client import Client, part
from paas.cli.target import find_target
from paas.nouns.errors import NotFound, Unavailable
from paas.nouns.text import quoted

REGISTRY: dict[str, click.Command] = {}
"""Name → command, filled as the modules of commands are imported."""

APP_SENTENCE = "The app; else PAAS_APP, else the git remote «paas»."
_REMOTE = re.compile(r"(?:ssh://(?:[^/@]*@)?[^/]+/|(?:[^/@:]+@)?[^/:]+:)/?([a-z][a-z0-9-]*?)(?:\.git)?/?")


Answer = Iterator[Any]
"""What a command yields: once, the data that --json prints. The code behind the yield prints for people."""


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Answer]], click.Command]:
    """Declare a command of the flat group; the docstring's first sentence is its help line."""

    def declare(function: Callable[..., Answer]) -> click.Command:
        @functools.wraps(function)
        def answering(*arguments: Any, as_json: bool, **options: Any) -> None:
            answer = function(*arguments, **options)
            data = next(answer)
            if as_json:
                output.print_json(data)
            else:
                next(answer, None)

        return printing_command(name, **attributes)(answering)

    return declare


def printing_command(
    name: str, *, json: bool = True, **attributes: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command that prints by itself, and may give an exit status. It gets `as_json`, unless `json` is false."""

    def declare(function: Callable[..., Any]) -> click.Command:
        if json:
            function = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
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
    return _app_option(
        lambda context, option, value: value if context.resilient_parsing else chosen_app(value)
    )(function)


def about_app(function: Callable[..., Any]) -> Callable[..., Any]:
    """The app as `app_option` has it, or as the command's only argument."""

    @functools.wraps(function)
    def with_app(*, named: str | None, app: str, **others: Any) -> Any:
        return function(app=chosen_app(one_app(named, app)), **others)

    return click.argument("named", metavar="[APP]", required=False)(_app_option(None)(with_app))


def one_app(named: str | None, app: str) -> str:
    """The name that was given as an argument or with -a. Raises UsageError for two."""
    if named and app and named != app:
        click.get_current_context().fail(f"Two apps are named, {quoted(named)} and {quoted(app)}.")
    return named or app


def _app_option(callback: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("-a", "--app", metavar="APP", default="", callback=callback, help=APP_SENTENCE)


def chosen_app(given: str) -> str:
    """The app of the flag, PAAS_APP or the git remote. Raises NotFound with the ways to name one."""
    name = given or os.environ.get("PAAS_APP") or (None if output.over_ssh() else app_of_remote(remote_url()))
    if not name:
        raise NotFound(
            "No app is named.",
            "Use -a APP."
            if output.over_ssh()
            else "Use -a APP, set PAAS_APP, or be in a folder with a git remote named paas.",
        )
    return name


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
    """A client for the platform of the environment or the login."""
    return Client(find_target(os.environ))


def app_path(app: str, *parts: object) -> str:
    return "/".join(["/apps", part(app), *(part(item) for item in parts)])


def restarting(api: Client, app: str) -> str:
    """How a progress line ends for a change of config or limits: `and restarting hello`, or `of hello` if nothing runs."""
    processes = api.get(app_path(app))["processes"]
    runs = any(item["quantity"] and not item["stopped"] for item in processes)
    return f"and restarting {app}" if runs else f"of {app}"


def run_stream(progress: output.Progress, messages: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Show a stream's lines until its end; its result. Lines without an indentation or an arrow get one."""
    for message in messages:
        if message.get("done"):
            return dict(message.get("result") or {})
        if text := str(message.get("line", "")):
            progress.detail(text if text[0] in " -=" else f"       {text}")
    raise Unavailable(
        "The platform hung up before the end; it may have gone on.", "See: paas releases, paas ps"
    )
