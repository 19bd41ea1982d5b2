"""The systemd unit of a platform, made from `templates/systemd/paas.service.j2`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import jinja2

from paas.nouns.settings import Option


def quoted(word: str, *, expanded: bool = True) -> str:
    """A word as systemd.service(5) reads it; in a command line, where variables are `expanded`."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    escaped = escaped.replace("$", "$$") if expanded else escaped
    return f'"{escaped}"' if escaped != word or not word or set(word) & set(" \t'#;") else word


def render(program: str, given: Sequence[tuple[Option, str]]) -> str:
    """The unit that runs `program server` with these options: as flags, or as variables where there is no flag."""
    words = [word for option, text in given if option.metavar for word in (f"--{option.name}", text)]
    assignments = [f"{option.variable}={text}" for option, text in given if not option.metavar]
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    environment.filters["quoted"] = quoted
    source = resources.files("templates").joinpath("systemd/paas.service.j2").read_text()
    return environment.from_string(source).render(
        program=program, words=words, variables=[quoted(each, expanded=False) for each in assignments]
    )
