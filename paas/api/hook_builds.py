"""Builds that hooks ask for: in threads of the api, after the forge has had its answer.

What is wanted is in the hooks' rows, so that a restart of the api loses none that has not begun. Of several pushes in a
row the last one is built: a build fetches the branch as it is when it begins.
"""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial

from paas import logs
from paas.api.access import lost_maker
from paas.api.context import Context
from paas.api.git import Gone
from paas.daemon import threads
from paas.nouns.errors import PaasError
from paas.nouns.model import App, Hook
from paas.nouns.remoteurl import RemoteRepository
from paas.store import Tx, apps, hooks

EXTENSION = "hooks"
"""The name of the application's one `HookBuilds` among Flask's extensions."""
AT_ONCE, OF_AN_OWNER = 8, 1
"""Half of the sources that owners of few may have under way: people's own commands find a turn."""


class HookBuilds:
    """The builds of one api; a hook's own come one after the other."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._running: dict[str, int | None] = {}
        """Hook → owner of its app."""
        self._lock = threading.Lock()

    def go(self) -> None:
        """Begin what is wanted as far as there is room; what ends makes room for the next."""
        with self._lock:
            with self._ctx.store.write() as tx:
                chosen = self._choose(tx)
                for _, hook in chosen:
                    hooks.begun(tx, hook.id)
            for app, hook in chosen:
                self._running[hook.id] = app.owner_id
                work, then = partial(self._build, app, hook), partial(self._end, hook)
                threads.start(f"hook of {app.name}", work, then=then)

    def _choose(self, tx: Tx) -> list[tuple[App, Hook]]:
        owners = Counter(self._running.values())
        chosen = []
        for hook in hooks.wanted(tx):
            app = apps.by_id(tx, hook.app_id)
            if (
                app is None
                or app.destroying
                or hook.id in self._running
                or owners[app.owner_id] >= OF_AN_OWNER
            ):
                continue
            if lost := lost_maker(tx, app, hook):
                hooks.begun(tx, hook.id)
                hooks.ended(tx, hook.id, lost)
                continue
            if owners.total() < AT_ONCE:
                owners[app.owner_id] += 1
                chosen.append((app, hook))
        return chosen

    def _end(self, hook: Hook) -> None:
        with self._lock:
            self._running.pop(hook.id, None)
        self.go()

    def _build(self, app: App, hook: Hook) -> None:
        from paas.release.origin import deploy_fetched

        ctx, actor = self._ctx, f"hook:{hook.id[:6]}"
        remote = RemoteRepository.parse(hook.url)
        origin = f"{remote}#{hook.branch}"
        tell = partial(logs.platform_line, ctx.layout, app.id, "hook")
        tell(f"Deploying {origin}")
        said = "failed: internal error"
        try:
            what, gone = {"url": f"{hook.url}#{hook.branch}"}, Gone(ctx, app, lambda: False)
            done = deploy_fetched(ctx, app, what, origin, actor, lambda line: None, gone, alone=True)
            said = f"v{done.release} serves"
        except PaasError as error:
            said = f"failed: {error.message}"
        finally:
            tell(f"{origin}: {said}")
            with ctx.store.write() as tx:
                hooks.ended(tx, hook.id, said)
