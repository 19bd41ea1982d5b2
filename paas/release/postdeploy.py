"""The scripts of app.json that run once a pushed release serves. Their failure is a warning and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from paas.build.platform import Platform
from paas.logs import Follower, Query, message_of
from paas.nouns.errors import PaasError
from paas.nouns.model import App
from paas.nouns.text import WARNING
from paas.release.one_off import Command, add_row, start
from paas.store import desired, instances, releases
from runtime.client import SpawnerError

POLL_S = 0.1


def scripts_of(scripts: Mapping[str, str], *, first: bool) -> list[str]:
    """The scripts to run after a push: `scripts.postdeploy` after the first, `scripts.paas.postdeploy` after each."""
    named = (["postdeploy"] if first else []) + ["paas.postdeploy"]
    return [scripts[name] for name in named if name in scripts]


def run_script(
    platform: Platform, app: App, number: int, script: str, *, actor: str, line: Callable[[str], None]
) -> None:
    """Run the script in a container of release `number`; its output and how it failed go to `line`."""
    line(f"       Running postdeploy script: {script}")
    try:
        cause = _run(platform, app, number, script, actor, line)
    except (PaasError, SpawnerError, OSError) as error:
        cause = getattr(error, "message", "") or str(error)
    if cause:
        line(f"{WARNING}The postdeploy script failed: {cause}; v{number} serves all the same")


def _run(
    platform: Platform, app: App, number: int, script: str, actor: str, line: Callable[[str], None]
) -> str:
    command = Command([script], actor, wall_s=platform.settings.release_timeout_s)
    block_base = platform.block_base()
    with platform.store.write() as tx:
        origin = desired.origin(tx, app, releases.get(tx, app.id, number))
        if origin is None:
            raise PaasError(f"Release v{number} is gone.")
        one_off = add_row(tx, origin, command, block_base=block_base)
    row = one_off.instance
    output = Follower(platform.layout, app.id, Query(source="app", instances=frozenset([row.runtime_id])))
    start(platform, one_off)
    while True:
        with platform.store.read() as tx:
            seen = instances.get(tx, row.id)
        for text in output.poll():
            line("       " + message_of(text))
        if seen.ended_at is not None:
            return seen.cause
        time.sleep(POLL_S)
