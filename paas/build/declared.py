"""What an app's files declare of its image: a Dockerfile the configuration, a Procfile and app.json the processes. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from buildpacks.plan import Plan
from paas.build.foreign import PROCESS
from paas.manifest.appjson import AppManifest
from runtime.image.ocilayout import ARCHITECTURE, EPOCH

_SHELL = ("/bin/sh", "-c")


def started(plan: Plan, procfile: Mapping[str, str]) -> dict[str, str]:
    """The commands of a Procfile as the image starts them: its entrypoint, if it has one, is given them as words."""
    if plan.config is None:
        return dict(procfile)
    entrypoint = plan.config["Entrypoint"]
    return {
        type: shlex.join([*entrypoint, *_SHELL, command]) if entrypoint else command
        for type, command in procfile.items()
    }


def own_config_of(
    processes: Mapping[str, str], settings: Mapping[str, Any], made_by: Sequence[str]
) -> dict[str, Any]:
    """The OCI image configuration of what a Dockerfile made. The other process types are labels, as in all our images."""
    web = processes.get("web") or next(iter(processes.values()))
    started = shlex.join([*settings["Entrypoint"], *settings["Cmd"]])
    if web != started:
        settings = {
            **settings,
            "Entrypoint": [],
            "Cmd": shlex.split(web) if settings["Entrypoint"] else [*_SHELL, web],
        }
    labels = {PROCESS + type: command for type, command in processes.items() if type != "web"}
    return {
        "created": EPOCH,
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {**settings, "Labels": {**settings.get("Labels", {}), **labels}},
        "history": [{"created": EPOCH, "created_by": text} for text in made_by],
    }


def strangers(manifest: AppManifest, processes: Mapping[str, str]) -> list[str]:
    """Warnings about process types that app.json names and the app does not have."""
    named = [("formation", name) for name in manifest.formation]
    named += [("healthchecks", name) for name in manifest.healthchecks]
    return [
        f"app.json: {section}.{name} is ignored, the app has no process type {name}"
        for section, name in named
        if processes and name not in processes
    ]
