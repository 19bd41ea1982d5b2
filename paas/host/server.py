"""`paas server`: claim the home, make folders, bind listeners, run the daemons until Ctrl-C, stop them in order."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from paas.daemon import presence
from paas.host import accounts
from paas.host.claim import claimed
from paas.host.daemons import Wiring, all_daemons
from paas.host.listeners import Listeners
from paas.host.supervise import Supervisor
from paas.nouns.errors import BadInput, PaasError
from paas.nouns.settings import Settings
from paas.routing import workers
from runtime.client import Spawner, SpawnerError
from runtime.home import Layout
from runtime.kernel import files

READY_S = 30.0
"""Interval of the message about daemons that are not ready yet."""


def run(settings: Settings, *, stop_apps: bool = False) -> int:
    """Run the platform in the foreground until Ctrl-C; the exit status. Raises PaasError before it serves."""
    began = time.monotonic()
    if os.geteuid() != 0:
        raise PaasError("The server starts as root and gives each daemon its own user.", "Run it with sudo.")
    if settings.acme_ca is not None and not settings.acme_ca.is_file():
        raise BadInput(f"acme_ca: there is no file {settings.acme_ca}.")
    accounts.ensure_accounts()
    settings = _identified(settings)
    layout = settings.layout()
    with claimed(layout):
        presence.announce(layout.run)
        try:
            return _serve(settings, layout, began, stop_apps)
        finally:
            (layout.run / "status.json").unlink(missing_ok=True)


def _serve(settings: Settings, layout: Layout, began: float, stop_apps: bool) -> int:
    accounts.ensure_folders(accounts.durable_folders(layout) + accounts.run_folders(layout))
    settings_file = _write_settings(settings, layout)
    old_workers = workers.answering(layout.router_control)
    listeners = Listeners(settings, shared=bool(old_workers))
    supervisor = Supervisor(
        all_daemons(Wiring(settings, layout, settings_file, listeners)),
        layout.run / "status.json",
        _facts(settings),
        _say,
    )
    supervisor.start()
    if supervisor.wait_ready(READY_S):
        for daemon in supervisor.daemons:
            _say(f"{daemon.name:<9} pid {daemon.pid:<7} user {daemon.user:<12} {daemon.listens}")
        for path in old_workers:
            workers.ask(path, "drain")
        _say(f"ready in {time.monotonic() - began:.2f} s · home {settings.home} · Ctrl-C stops it")
    supervisor.run()
    _stop(supervisor, settings, layout, stop_apps)
    return 0


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(1, f"{line}\n".encode())


def _identified(settings: Settings) -> Settings:
    identity = accounts.ensure_identity(settings.home)
    return Settings.from_json({**settings.to_json(), "id": identity})


def _write_settings(settings: Settings, layout: Layout) -> Path:
    path = layout.run / "settings.json"
    files.replace(path, json.dumps(settings.to_json(), indent=1), mode=0o644, durable=False)
    return path


def _facts(settings: Settings) -> dict[str, Any]:
    return {"pid": os.getpid(), "started_at": time.time(), "settings": settings.to_json()}


def _stop(supervisor: Supervisor, settings: Settings, layout: Layout, stop_apps: bool) -> None:
    _say(
        "stopping the platform" if stop_apps else "stopping the control plane; apps and router workers run on"
    )
    supervisor.stop(("git", "api", "converge"))
    if stop_apps:
        _stop_instances(layout, settings.stop_timeout_s)
        supervisor.stop(("router",))
    supervisor.stop(("spawner",))
    layout.converge_socket.unlink(missing_ok=True)


def _stop_instances(layout: Layout, grace_s: float) -> None:
    spawner = Spawner(layout.spawner_socket)
    try:
        running = [item.id for item in spawner.list() if item.state == "running"]
        for identity in running:
            spawner.signal(identity, "TERM", all=True)
        deadline = time.monotonic() + grace_s
        while running and time.monotonic() < deadline:
            running = [item.id for item in spawner.list() if item.state == "running"]
            time.sleep(0.05)
        for item in spawner.list():
            spawner.delete(item.id)
    except (SpawnerError, OSError) as error:
        _say(f"the apps could not all be stopped: {error}")
