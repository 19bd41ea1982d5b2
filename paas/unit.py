"""The systemd unit of a platform, made from `templates/systemd/paas.service.j2`."""

from __future__ import annotations

from importlib import resources

import jinja2


def quoted(word: str) -> str:
    """A word of a command line as systemd.service(5) reads it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or not word or set(word) & set(" \t'#;") else word


def render(program: str, words: list[str]) -> str:
    """The unit that runs `program server WORDS`."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    environment.filters["quoted"] = quoted
    source = resources.files("templates").joinpath("systemd/paas.service.j2").read_text()
    return environment.from_string(source).render(program=program, words=words)
