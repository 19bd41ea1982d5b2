"""One change that a request makes: rows and their event in one transaction, then a wake-up for converge and log lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from paas.api.access import principal
from paas.api.context import Context, context
from paas.nouns.model import App
from paas.store import Tx, events


class Edit:
    """The open transaction `tx`; `app` is None for a change of the whole platform."""

    def __init__(self, ctx: Context, tx: Tx, app: App | None) -> None:
        self.tx, self.actor = tx, principal().name
        self._ctx, self._app_id = ctx, app.id if app else None
        self._lines: list[str] = []
        self._seq = 0

    def record(self, verb: str, detail: Mapping[str, Any], line: str = "") -> None:
        """Add the event; once the change is committed, `line` and the caller's name go to the app's log."""
        events.add(self.tx, self._app_id, self.actor, verb, dict(detail))
        if line:
            self.log(f"{line} by {self.actor}")

    def log(self, line: str) -> None:
        """Write this line to the app's log once the change is committed."""
        self._lines.append(line)

    def applied(self) -> bool:
        """True once every router worker has the change; False if that takes too long. Call it after the block."""
        return self._ctx.applied(self._seq)

    def _committing(self) -> None:
        self._seq = events.last(self.tx)

    def _committed(self) -> None:
        self._ctx.poke()
        if self._app_id is not None:
            for line in self._lines:
                self._ctx.log(self._app_id, line)


@contextmanager
def edit(app: App | None) -> Iterator[Edit]:
    """Open a transaction for one change. An error inside the block undoes it: no event, no line, no wake-up."""
    ctx = context()
    with ctx.store.write() as tx:
        made = Edit(ctx, tx, app)
        yield made
        made._committing()
    made._committed()
