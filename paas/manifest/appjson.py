"""app.json: what an app says about itself. Pure; an unknown key is a warning, so is another tool's file, a malformed one is a refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from paas.manifest.jsonvalues import amount, by_rule, expect_object, flag, integer, load, number, refuse
from paas.nouns.names import (
    ConfigName,
    ProcessType,
    check_limit,
    config_value,
    cpu_millis,
    memory_bytes,
    quantity,
)
from paas.nouns.text import quoted

_IGNORED = frozenset(
    [
        "name",
        "description",
        "keywords",
        "website",
        "repository",
        "logo",
        "success_url",
        "image",
        "generator",
        "review_app",
        "$schema",
    ]
)
"""Keys of the format that describe the app to people and change nothing here."""
_LATER = frozenset({"addons", "cron", "environments"})
"""Keys of the format that are checked for their shape and not acted upon."""


_OURS = frozenset({"env", "formation", "healthchecks", "scripts", "buildpacks", "stack", "addons"})
_STRANGERS = {
    "expo": "Expo",
    "displayName": "React Native",
    "pages": "a mini program",
    "usingComponents": "a mini program",
}
"""Keys of files of the same name that other tools read."""


@dataclass(frozen=True)
class EnvVar:
    """A variable the app wants. `generator` is "" or "secret"."""

    value: str | None = None
    required: bool = True
    generator: str = ""
    description: str = ""


@dataclass(frozen=True)
class FormationDefault:
    """What a type starts with at the app's first release; `limits` as in a formation row."""

    quantity: int | None = None
    limits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class HealthCheck:
    """One check of a process type. `kind` is startup, readiness or liveness.

    `listening` asks only for an open port; otherwise an HTTP GET of `path` must answer 2xx or 3xx.
    `port` null means $PORT.
    """

    kind: str = "startup"
    name: str = ""
    path: str = "/"
    port: int | None = None
    attempts: int = 3
    timeout_s: float = 5.0
    wait_s: float = 5.0
    listening: bool = False


@dataclass(frozen=True)
class AppManifest:
    """A whole app.json, checked. `warnings` are sentences for the push output. The keys of `scripts` are
    `postdeploy`, `paas.predeploy` and `paas.postdeploy`."""

    env: dict[str, EnvVar] = field(default_factory=dict)
    formation: dict[str, FormationDefault] = field(default_factory=dict)
    healthchecks: dict[str, tuple[HealthCheck, ...]] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    buildpacks: tuple[str, ...] = ()
    stack: str = ""
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The form kept with an image; `warnings` are left out."""
        data = asdict(self)
        del data["warnings"]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> AppManifest:
        """What `to_json` described; an empty object is an app without app.json."""
        return cls(
            env={name: EnvVar(**value) for name, value in data.get("env", {}).items()},
            formation={name: FormationDefault(**value) for name, value in data.get("formation", {}).items()},
            healthchecks={
                name: tuple(HealthCheck(**check) for check in checks)
                for name, checks in data.get("healthchecks", {}).items()
            },
            scripts=dict(data.get("scripts", {})),
            buildpacks=tuple(data.get("buildpacks", ())),
            stack=data.get("stack", ""),
        )


def parse_app_json(data: bytes) -> AppManifest:
    """Read an app.json. Raises BadInput that names the line (syntax) or the key (meaning)."""
    reader = _Reader()
    top = expect_object("app.json", load(data, reader.warnings.append))
    stranger = _stranger(top)
    if stranger:
        return AppManifest(warnings=(*reader.warnings, f"app.json is that of {stranger} and is not read"))
    buildpacks, stack = reader.buildpacks(top.get("buildpacks", [])), top.get("stack", "")
    if not isinstance(stack, str):
        refuse("stack", stack, "is not text")
    manifest = AppManifest(
        env=reader.table("env", top.get("env", {}), _env_var, ConfigName.parse),
        formation=reader.table("formation", top.get("formation", {}), _formation, ProcessType.parse),
        healthchecks=reader.table("healthchecks", top.get("healthchecks", {}), _checks, ProcessType.parse),
        scripts=reader.scripts(top.get("scripts", {})),
        buildpacks=buildpacks,
        stack=stack,
    )
    known = {"env", "formation", "healthchecks", "scripts", "buildpacks", "stack"} | _IGNORED | _LATER
    reader.unknown("", top, known)
    for key in sorted(_LATER & set(top)):
        if top[key]:
            reader.warnings.append(f"app.json: {key} is not acted upon")
    return AppManifest(**{**manifest.__dict__, "warnings": tuple(reader.warnings)})


def _stranger(top: dict[str, Any]) -> str:
    """The name of another tool that has a file of this name, if the file is its; empty for ours."""
    if top.keys() & _OURS:
        return ""
    return next((name for key, name in _STRANGERS.items() if key in top), "")


class _Reader:
    """Collects warnings on the way through the file."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def unknown(self, place: str, value: dict[str, Any], known: set[str]) -> None:
        for key in value:
            if key not in known:
                self.warnings.append(f"app.json: {place}{quoted(key, 50)} is not a known key and is ignored")

    def table(
        self,
        place: str,
        value: Any,
        parse: Callable[[_Reader, str, Any], Any],
        named: Callable[[str], str],
    ) -> dict[str, Any]:
        parsed: dict[str, Any] = {}
        if isinstance(value, list):
            self.warnings.append(f"app.json: {place} is a list, as other platforms have it, and is not read")
            return parsed
        for name, item in expect_object(place, value).items():
            by_rule(place, named, name)
            parsed[name] = parse(self, f"{place}.{name}", item)
        return parsed

    def text(self, place: str, value: Any) -> Any:
        """A number or a truth value that other platforms take for text, as text."""
        if not isinstance(value, bool | int | float):
            return value
        self.warnings.append(f"app.json: {place} is {json.dumps(value)}, no text; it is taken as one")
        return json.dumps(value)

    def flag(self, place: str, value: Any) -> bool:
        if value in ("true", "false"):
            self.warnings.append(f'app.json: {place} is "{value}", no true or false; it is taken as one')
            return bool(value == "true")
        return flag(place, value)

    def scripts(self, value: Any) -> dict[str, str]:
        own = expect_object("scripts", value)
        nested = expect_object("scripts.paas", own.get("paas", {}))
        self.unknown("scripts.", own, {"postdeploy", "test", "test-setup", "paas", "dokku", "pr-predestroy"})
        self.unknown("scripts.paas.", nested, {"predeploy", "postdeploy"})
        named = {"postdeploy": own.get("postdeploy")}
        named |= {f"paas.{key}": nested.get(key) for key in ("predeploy", "postdeploy")}
        found = {}
        for key, script in named.items():
            if script is None:
                continue
            if not isinstance(script, str) or not script.strip() or "\0" in script:
                refuse(f"scripts.{key}", script, "is not a command")
            found[key] = script.strip()
        return found

    def buildpacks(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            refuse("buildpacks", value, "is not a list")
        names = []
        for item in value:
            name = item.get("url", item.get("name")) if isinstance(item, dict) else item
            if not isinstance(name, str) or not name:
                refuse("buildpacks", item, 'is not {"url": NAME}')
            names.append(name)
        return tuple(names)


def _env_var(reader: _Reader, place: str, value: Any) -> EnvVar:
    value = reader.text(place, value)
    if isinstance(value, str):
        return EnvVar(value=by_rule(place, partial(config_value, place), value))
    data = expect_object(place, value, "is neither text nor an object")
    reader.unknown(f"{place}.", data, {"value", "required", "generator", "description"})
    text, generator = reader.text(f"{place}.value", data.get("value")), data.get("generator", "")
    if text is not None and not isinstance(text, str):
        refuse(f"{place}.value", text, "is not text")
    if text is not None:
        by_rule(f"{place}.value", partial(config_value, place), text)
    if generator not in ("", "secret"):
        refuse(f"{place}.generator", generator, 'is not "secret"')
    if not isinstance(data.get("description", ""), str):
        refuse(f"{place}.description", data["description"], "is not text")
    return EnvVar(
        text,
        reader.flag(f"{place}.required", data.get("required", True)),
        generator,
        data.get("description", ""),
    )


def _formation(reader: _Reader, place: str, value: Any) -> FormationDefault:
    data = expect_object(place, value)
    reader.unknown(f"{place}.", data, {"quantity", "size", "memory", "cpu", "pids"})
    if "size" in data:
        reader.warnings.append(f"app.json: {place}.size is ignored; use memory, cpu and pids")
    count = data.get("quantity")
    if count is not None:
        by_rule(f"{place}.quantity", quantity, count)
    limits = {}
    if "memory" in data:
        limits["memory_bytes"] = by_rule(f"{place}.memory", memory_bytes, amount(data["memory"]))
    if "cpu" in data:
        limits["cpu_millis"] = by_rule(f"{place}.cpu", cpu_millis, amount(data["cpu"]))
    if "pids" in data:
        limits["pids"] = by_rule(f"{place}.pids", partial(check_limit, "pids"), data["pids"])
    return FormationDefault(count, limits)


_CHECK_KEYS = {
    "type",
    "name",
    "path",
    "port",
    "attempts",
    "timeout",
    "wait",
    "listening",
    "initialDelay",
    "uptime",
}


def _checks(reader: _Reader, place: str, value: Any) -> tuple[HealthCheck, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        refuse(place, value, "is not a list of objects")
    return tuple(_check(reader, f"{place}[{index}]", item) for index, item in enumerate(value))


def _check(reader: _Reader, place: str, data: dict[str, Any]) -> HealthCheck:
    reader.unknown(f"{place}.", data, _CHECK_KEYS)
    for key in ("initialDelay", "uptime"):
        if key in data:
            reader.warnings.append(f"app.json: {place}.{key} is ignored; readiness is polled from the start")
    kind, path, name = data.get("type", "startup"), data.get("path", "/"), data.get("name", "")
    if kind not in ("startup", "readiness", "liveness"):
        refuse(f"{place}.type", kind, "is not startup, readiness or liveness")
    if not isinstance(path, str) or not path.startswith("/") or not path.isascii() or not path.isprintable():
        refuse(f"{place}.path", path, "is not a path that starts with /")
    if " " in path:
        refuse(f"{place}.path", path, "contains a space")
    if not isinstance(name, str):
        refuse(f"{place}.name", name, "is not text")
    port = data.get("port")
    return HealthCheck(
        kind=kind,
        name=name,
        path=path,
        port=None if port is None else integer(f"{place}.port", port, 1, 65535),
        attempts=integer(f"{place}.attempts", data.get("attempts", 3), 1, 1000),
        timeout_s=number(f"{place}.timeout", data.get("timeout", 5), 0.1, 600),
        wait_s=number(f"{place}.wait", data.get("wait", 5), 0, 600),
        listening=flag(f"{place}.listening", data.get("listening", False)),
    )
