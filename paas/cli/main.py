"""The command line: find the command by name, run it, and turn every outcome into words and an exit status."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence

import click

from paas.cli import base, output
from paas.nouns.errors import PaasError
from paas.nouns.text import quoted

MODULES = {
    "apps": (
        "create", "apps", "apps:create", "apps:info", "apps:rename", "apps:branch", "apps:destroy", "destroy", "open",
    ),
    "builds": ("builds", "builds:info", "builds:output", "builds:cancel", "builds:get", "builds:set", "build", "ps:rebuild"),
    "deploy": ("deploy",),
    "images": ("image:push", "image:pull", "image:history", "image:export", "image:sbom"),
    "hooks": ("hooks", "hooks:create", "hooks:remove"),
    "config": ("config", "config:set", "config:unset", "config:get"),
    "processes": ("ps", "scale", "ps:scale", "ps:restart", "restart", "ps:stop", "limits", "limits:set"),
    "releases": ("releases", "releases:info", "rollback", "releases:rollback"),
    "canary": ("canary", "canary:share", "canary:promote", "canary:stop"),
    "logs": ("logs",),
    "run": ("run",),
    "domains": ("domains", "domains:list", "domains:add", "domains:remove"),
    "router": ("router", "router:top", "router:metrics", "router:restart"),
    "routing": (
        "router:settings", "router:set", "router:unset", "maintenance", "maintenance:on", "maintenance:off", "pause", "resume",
    ),
    "guards": (
        "auth", "auth:add", "auth:remove", "allow", "allow:add", "allow:remove", "errors", "errors:set", "errors:unset",
    ),
    "certs": (
        "certs", "certs:list", "certs:add", "certs:remove", "certs:generate", "certs:ca", "certs:auto:enable", "certs:auto:disable",
    ),
    "access": (
        "keys", "keys:add", "keys:remove", "tokens", "tokens:create", "tokens:revoke",
        "users", "users:add", "whoami", "login", "logout",
    ),
    "stacks": ("stacks", "stacks:create", "stacks:apps", "stacks:update"),
    "server": ("server", "server:status", "server:unit", "server:uninstall", "doctor"),
    "help": ("help",),
}  # fmt: skip
"""Module of this package → the commands in it. Only the module of the command that runs is imported."""

UNKNOWN_COMMAND = 127
_BY_COMMAND = {name: module for module, names in MODULES.items() for name in names}


class Commands(click.Group):
    """All commands, flat; topics are only a way of writing names."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_BY_COMMAND)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        module = _BY_COMMAND.get(name)
        if module is None:
            return None
        importlib.import_module(f"paas.cli.{module}")
        return base.REGISTRY[name]

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _BY_COMMAND:
            raise UnknownCommand(args[0])
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for module, names in MODULES.items():
            rows = [(name, self._line(context, name)) for name in names]
            with formatter.section(module.capitalize()):
                formatter.write_dl(rows)

    def _line(self, context: click.Context, name: str) -> str:
        found = self.get_command(context, name)
        return found.get_short_help_str(90) if found else ""


class UnknownCommand(PaasError):
    """There is no such command; the hint suggests another."""

    code = "unknown_command"
    exit_status = UNKNOWN_COMMAND

    def __init__(self, word: str) -> None:
        from paas.cli.words import advice

        super().__init__(
            f"{quoted(word)} is not a command of paas.", advice(word, _BY_COMMAND) or "See: paas help"
        )


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="paas", message="paas %(version)s")
def paas() -> None:
    """Push an app, scale it, configure it, watch it.

    Every command takes --json. Most take the app from -a APP, PAAS_APP or the git remote «paas».
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 1 for an error, 2 for wrong usage, 127 for an unknown command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper) and sys.stdin.errors != "surrogateescape":
        sys.stdin.reconfigure(errors="surrogateescape")
    try:
        status = paas.main(
            args=list(sys.argv[1:] if arguments is None else arguments),
            prog_name="paas",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        output.result(error.ctx.get_help() if error.ctx else "")
        return 2
    except click.ClickException as error:
        return _wrong_usage(error)
    except PaasError as error:
        output.print_error(error)
        return error.exit_status
    except (KeyboardInterrupt, click.Abort):
        output.warn("Cancelled.")
        return 130
    except BrokenPipeError:
        output.finish_quietly()
        return 141
    except Exception as error:
        if os.environ.get("PAAS_DEBUG"):
            raise
        output.warn(f"Internal error: {type(error).__name__}: {error}")
        output.warn("This is a bug. PAAS_DEBUG=1 shows where.")
        return 1
    return status if isinstance(status, int) else 0


def _wrong_usage(error: click.ClickException) -> int:
    output.warn(error.format_message())
    context = getattr(error, "ctx", None)
    if context is not None:
        output.warn(" ".join(context.get_usage().split()))
        output.warn(f"See: {context.command_path} --help")
    return 2


if __name__ == "__main__":
    sys.exit(main())
