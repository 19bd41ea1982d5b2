"""The log lines of daemons: on stderr, which is the operator's terminal or journal."""

from __future__ import annotations

import logging
import sys

from paas.nouns.text import visible


class _Lines(logging.Formatter):
    """Escapes control characters: messages and tracebacks contain text that tenants chose."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def log_to_stderr(form: str = "%(name)s %(levelname)s %(message)s") -> None:
    """Log to stderr from level INFO on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(form))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
