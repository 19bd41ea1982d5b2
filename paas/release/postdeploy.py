"""The scripts of app.json that run once a pushed release serves. Their failure is a warning and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from paas.build.platform import Platform
from paas.logs import Follower, Query, message_of
from paas.nouns.errors import PaasError
from paas.nouns.model import App, Instance
from paas.nouns.text import WARNING
from paas.runs.specs import Origin, run_spec, with_wall_limit
from paas.store import Tx, configs, images, instances, releases
from runtime.client import SpawnerError
from runtime.spec import Box, Order

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
    block_base = platform.block_base()
    with platform.store.write() as tx:
        detail = {"argv": [script], "actor": actor, "detach": True}
        row = instances.create(tx, app.id, kind="run", type="run", release_number=number, detail=detail)
    output = Follower(platform.layout, app.id, Query(source="app", instances=frozenset([row.runtime_id])))
    try:
        with platform.store.read() as tx:
            order, box = _spec(tx, app, row, number, script, block_base)
        box = with_wall_limit(box, platform.settings.release_timeout_s)
        started = platform.spawner.create(order, box)
    except (PaasError, SpawnerError, OSError):
        with platform.store.write() as tx:
            instances.ended(tx, row.id, cause="did not start")
        raise
    with platform.store.write() as tx:
        instances.started(tx, row.id, address=started.address, detail={"pid": started.pid})
    platform.poke()
    while True:
        with platform.store.read() as tx:
            seen = instances.get(tx, row.id)
        for text in output.poll():
            line("       " + message_of(text))
        if seen.ended_at is not None:
            return seen.cause
        time.sleep(POLL_S)


def _spec(tx: Tx, app: App, row: Instance, number: int, script: str, block_base: int) -> tuple[Order, Box]:
    release = releases.get(tx, app.id, number)
    image = images.of(tx, release)
    if release is None or image is None:
        raise PaasError(f"Release v{number} is gone.")
    origin = Origin(app, release, image, configs.get(tx, app.id, release.config_number))
    return run_spec(origin, row, block_base=block_base, command=[script], attach=False)
