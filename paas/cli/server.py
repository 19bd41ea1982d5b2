"""The platform on this machine: run it, look at its daemons, check the machine, uninstall it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from paas.cli import output
from paas.cli.apps import typed_confirmation
from paas.cli.base import Answer, command, printing_command
from paas.cli.output import over_ssh
from paas.cli.target import check_own, no_home
from paas.nouns.errors import BadInput, Forbidden, NotFound
from paas.nouns.settings import OPTIONS, Settings, given, load
from paas.nouns.text import quoted


def setting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for each setting that has one; they arrive as `flags`, by the setting's name."""
    for option in reversed(OPTIONS):
        if option.metavar:
            help = f"{option.sentence}  [{option.variable}; default {option.default}]"
            function = click.option(f"--{option.name}", option.attribute, metavar=option.metavar, help=help)(
                function
            )
    return function


def _settings(flags: dict[str, Any]) -> Settings:
    if over_ssh():
        raise Forbidden("This command is for the machine that the platform is on.")
    return load(_by_name(flags), os.environ)


def _by_name(flags: dict[str, Any]) -> dict[str, Any]:
    names = {option.attribute: option.name for option in OPTIONS}
    return {names[key]: value for key, value in flags.items()}


@printing_command("server", json=False)
@setting_options
@click.option("--stop-apps", is_flag=True, help="Stop the apps, too, when the server stops.")
def server(stop_apps: bool, **flags: Any) -> int:
    """Run the platform in the foreground until Ctrl-C. Apps go on serving without it."""
    settings = _settings(flags)
    from paas.host.server import run

    return run(settings, stop_apps=stop_apps)


@printing_command("server:status")
@click.option("--home", metavar="DIR", help="Which platform  [PAAS_HOME; default /var/lib/paas].")
def server_status(home: str | None, as_json: bool) -> int:
    """Show the daemons: pid, user, what they listen on. Status 1 if the server does not run."""
    status = read_status(local_layout(home).run / "status.json")
    for daemon in [status, *status["daemons"], *status.get("leaving", [])]:
        daemon["running"] = _runs(daemon.get("pid"))
    if as_json:
        output.print_json(status)
    else:
        rows = [["NAME", "PID", "USER", "UP", "LISTENS"]]
        rows += [_row(daemon) for daemon in status["daemons"]]
        rows += [[*_row(daemon)[:-1], "leaving"] for daemon in status.get("leaving", [])]
        output.table(rows)
        if not status["running"]:
            output.warn(f"The server (pid {status.get('pid')}) is gone. Start it again with: paas server")
    return 0 if status["running"] else 1


def read_status(path: Path) -> dict[str, Any]:
    """What the server wrote of itself. Raises NotFound."""
    try:
        status: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        raise NotFound("The server does not run.", "Start it with: paas server") from None
    return status


def _row(daemon: dict[str, Any]) -> list[str]:
    pid = str(daemon["pid"] or "-") if daemon["running"] else "down"
    since = daemon.get("started_at") if daemon["running"] else None
    up = output.ago(time.time() - since).removesuffix(" ago").removeprefix("~ ") if since else "-"
    return [daemon["name"], pid, daemon["user"], up, str(daemon["listens"])]


def _runs(pid: object) -> bool:
    return isinstance(pid, int) and pid > 0 and Path(f"/proc/{pid}").exists()


def local_layout(home: str | None) -> Any:
    """The paths of the platform in `home`, else PAAS_HOME. Raises NotFound, Conflict for a copied home, Forbidden over SSH."""
    settings = _settings({"home": home})
    try:
        layout = settings.layout()
    except OSError as error:
        raise no_home(settings.home, error, "use --home DIR") from None
    check_own(layout.home, layout.id)
    return layout


@command("server:unit")
@setting_options
def server_unit(**flags: Any) -> Answer:
    """Print a systemd unit that runs the platform with these flags, and the PAAS_* variables of now, at boot."""
    _settings(flags)
    from paas.host.unit import render

    said = given(_by_name(flags), os.environ)
    text = render(os.path.abspath(sys.argv[0]), said).rstrip()
    yield {"unit": text}
    output.result(text)


@command("server:uninstall")
@click.option("--home", metavar="DIR", help="Which platform  [PAAS_HOME; default /var/lib/paas].")
@click.option("--confirm", metavar="DIR", help="The home's path, instead of typing it when asked.")
def server_uninstall(home: str | None, confirm: str | None) -> Answer:
    """Remove a platform from this machine with all its apps and their data."""
    layout = local_layout(home)
    path = str(layout.home)
    if confirm is None:
        confirm = typed_confirmation(f"This removes every app of {path} and all data.", path)
    if confirm != path:
        raise BadInput(f"{quoted(confirm)} is not {path}: nothing was removed.")
    from paas.host.uninstall import uninstall

    with output.Progress(f"Removing {path}"):
        uninstall(layout)
    yield {"home": path, "removed": True}


@printing_command("doctor")
@setting_options
def doctor(as_json: bool, **flags: Any) -> int:
    """Check this machine for what a platform needs, and say what to do about each thing."""
    settings = _settings(flags)
    from paas.host.doctor import main, running_settings

    if not any(value for name, value in flags.items() if name != "home"):
        settings = running_settings(settings) or settings
    return main(settings, as_json=as_json)
