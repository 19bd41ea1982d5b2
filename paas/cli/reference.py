"""Writes `docs/cli.md` from the commands themselves: `python -m paas.cli.reference > docs/cli.md`."""

from __future__ import annotations

import inspect
import sys

import click

from paas.cli.local import is_local
from paas.cli.main import MODULES, Commands, paas

_INTRODUCTION = """\
# Commands

This page is made from the program by `make docs`; every command also has `--help`.

- `-a/--app APP` names the app; without it `PAAS_APP` counts, then the git remote `paas` of the working directory.
  Commands that take no other argument take it as one, too: `paas ps hello`.
- `--json` is on every command but `server`. Progress goes to stderr, results to stdout; ` !` lines are red on a terminal
  (not with `NO_COLOR`). Control characters in what people chose are shown as `\\x1b`, in pipes, too. `config -s` and `config:get` are exact
  in a pipe; over ssh, where nobody knows what is at the other end, `--json` and `config -s` are.
- Exit status: 0 done, 1 error, 2 wrong usage, 127 unknown command, 130 cancelled; `run` ends with the command's own.
- The client talks to the platform of `PAAS_HOME`, else to the one of `paas login`, else to `/var/lib/paas` on this machine.
- Over SSH the commands need no client: `ssh -p 2222 paas@HOST ps -a hello`. All work there but those about the machine
  they are typed on: {local}.
"""


def reference() -> str:
    """The whole page."""
    assert isinstance(paas, Commands)
    context = click.Context(paas, info_name="paas")
    local = [f"`{name}`" for names in MODULES.values() for name in names if is_local(name)]
    sections = [_INTRODUCTION.format(local=", ".join(local))]
    for module, names in MODULES.items():
        sections.append(f"## {module.capitalize()}\n")
        for name in names:
            found = paas.get_command(context, name)
            assert found is not None
            sections.append(_entry(found, click.Context(found, info_name=name, parent=context)))
    return "\n".join(sections)


def _entry(command: click.Command, context: click.Context) -> str:
    usage = " ".join([f"paas {command.name}", *command.collect_usage_pieces(context)])
    lines = [f"### `{command.name}`", "", "```", usage, "```", "", inspect.cleandoc(command.help or ""), ""]
    options = [record for option in command.params if (record := option.get_help_record(context))]
    if options:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| `{_cell(flags)}` | {_cell(meaning)} |" for flags, meaning in options]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
