"""The config vars that an app.json asks for, and their values. Pure, except for random secrets."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from paas.manifest.appjson import AppManifest
from paas.nouns.errors import BadInput
from paas.nouns.names import LIMITS, shown_limit


def wanted_vars(manifest: AppManifest, config: Mapping[str, str], *, first: bool) -> dict[str, str]:
    """The config vars that app.json gives an app at its first release.

    Raises BadInput naming the required ones that nobody has set.
    """
    wanted, missing = {}, []
    for name, var in manifest.env.items():
        if name in config:
            continue
        if var.generator == "secret" and first:
            wanted[name] = secrets.token_hex(32)
        elif var.value is not None and first:
            wanted[name] = var.value
        elif var.required and var.value is None and not var.generator:
            missing.append(name)
    if missing:
        raise BadInput(
            f"app.json requires config vars that are not set: {', '.join(missing)}.",
            f"paas config:set {' '.join(f'{name}=…' for name in missing)}",
            cause="config vars are missing",
        )
    return wanted


def left_unset(manifest: AppManifest, config: Mapping[str, str]) -> str:
    """For a later release: a sentence about values of app.json that nobody has set; empty when there are none."""
    names = [
        name
        for name, var in manifest.env.items()
        if name not in config and (var.generator or var.value is not None)
    ]
    if not names:
        return ""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")
    return (
        f"app.json: {shown} {'are' if names[1:] else 'is'} not set, values count at the first release;"
        f" now: paas config:set {names[0]}=…"
    )


def left_alone(manifest: AppManifest, before: AppManifest) -> list[str]:
    """For a later release: sentences about the formation that app.json changes, and that stays as people have set it."""
    found = []
    for name, wish in manifest.formation.items():
        was = before.formation.get(name)
        if was is None or was == wish:
            continue
        limits = [f"{LIMITS[key][2]}={shown_limit(key, value)}" for key, value in wish.limits.items()]
        now = [f"paas limits:set {name} {' '.join(limits)}"] if wish.limits not in ({}, was.limits) else []
        if wish.quantity != was.quantity and wish.quantity is not None:
            now.append(f"paas scale {name}={wish.quantity}")
        if now:
            found.append(f"app.json: formation.{name} counts at the first release; now: {', '.join(now)}")
    return found
