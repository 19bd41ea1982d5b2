"""Config vars: show, set, unset. One command is one release."""

from __future__ import annotations

import itertools
import shlex

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, app_option, app_path, client, command, restarting, run_stream
from paas.cli.inputs import read_pairs
from paas.nouns.errors import NotFound
from paas.nouns.names import ConfigName, config_value, release_number
from paas.nouns.text import quoted, visible


@command("config")
@about_app
@click.option("-s", "--shell", is_flag=True, help="Print lines that a shell can read.")
@click.option("--release", metavar="vN", help="As it was in that release.")
def config(app: str, shell: bool, release: str | None) -> Answer:
    """Show the config vars."""
    number = release_number(release) if release else None
    values: dict[str, str] = client().get(app_path(app, "config"), release=number)["vars"]
    values = dict(sorted(values.items()))
    yield values
    if not shell:
        output.heading(f"{app} Config Vars" + (f" of {release}" if release else ""))
        return output.pairs(values)
    for name, value in values.items():
        output.exact(f"{name}={_shell_word(value)}")


@command("config:get")
@click.argument("name")
@app_option
@click.option("-s", "--shell", is_flag=True, help="Print a line that a shell can read.")
def config_get(name: str, app: str, shell: bool) -> Answer:
    """Print the value of one config var."""
    values = client().get(app_path(app, "config"))["vars"]
    if name not in values:
        raise NotFound(f"{quoted(name)} is not set.", "See: paas config")
    yield {name: values[name]}
    output.exact(f"{name}={_shell_word(values[name])}" if shell else values[name])


def _shell_word(value: str) -> str:
    """The value quoted for a shell; on a terminal its control characters are written as printf(1) calls, exact and harmless."""
    if not output.for_people():
        return shlex.quote(value)
    runs = itertools.groupby(value, lambda letter: visible(letter) != letter)
    words = [(_printed if hidden else shlex.quote)("".join(letters)) for hidden, letters in runs]
    return "".join(words) or "''"


def _printed(text: str) -> str:
    return "\"$(printf '" + "".join(f"\\{byte:03o}" for byte in text.encode()) + "')\""


@command("config:set")
@click.argument("words", metavar="NAME=VALUE...", nargs=-1, required=True)
@app_option
def config_set(words: tuple[str, ...], app: str) -> Answer:
    """Set config vars: one new release, one rolling restart."""
    values = parse_pairs(words)
    result = _change(app, f"Setting {', '.join(values)}", {"set": values})
    shown_values = result.get("vars", values)
    chosen = {name: shown_values.get(name, value) for name, value in sorted(values.items())}
    yield chosen
    output.pairs(chosen)


@command("config:unset")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@app_option
def config_unset(names: tuple[str, ...], app: str) -> Answer:
    """Remove config vars: one new release, one rolling restart."""
    unset = list(dict.fromkeys(names))
    result = _change(app, f"Unsetting {', '.join(unset)}", {"unset": unset})
    yield {"unset": unset, "release": result["release"]}


def parse_pairs(words: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` words as they were typed; the value is everything behind the first `=`. Raises BadInput, UsageError."""
    values = read_pairs(words, "NAME=VALUE (quote values with spaces: NAME='two words')")
    return {ConfigName.parse(name): config_value(name, value) for name, value in values.items()}


def _change(app: str, doing: str, body: dict[str, object]) -> dict[str, dict[str, str]]:
    api = client()
    with output.Progress(f"{doing} {restarting(api, app)}") as progress:
        result = run_stream(progress, api.stream("PATCH", app_path(app, "config"), body))
        progress.done(f"done, {result['release']['version']}")
    return result
