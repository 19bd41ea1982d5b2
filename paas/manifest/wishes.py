"""The config vars that an app.json asks for, and their values. Pure, except for random secrets."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from paas.manifest.appjson import AppManifest
from paas.nouns.errors import BadInput


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
