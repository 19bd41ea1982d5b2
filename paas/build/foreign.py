"""What an image from elsewhere says of itself: its OCI configuration (image-spec, config.md) as an image of an app.

Pure. The configuration was written by a stranger: what breaks a rule is left out, or refused in one sentence.
"""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paas.manifest.appjson import parse_app_json
from paas.manifest.procfile import MAX_BYTES, MAX_TYPES, RESERVED, TYPE
from paas.nouns.errors import BuildFailed
from paas.nouns.startup import STARTUP, STOP_SIGNAL, STOP_SIGNALS, WEB_PORT, Startup
from paas.nouns.text import quoted
from runtime.spec import APP_USER, ID_RANGE

PROCESS, LANGUAGE = "paas.process.", "paas.language"
"""Labels of our own images: the command of a process type, and what built it."""
PASSWD, GROUP, APP_JSON = FILES = "etc/passwd", "etc/group", "app/app.json"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PORT = re.compile(r"([0-9]{1,5})(?:/tcp)?")
_ENV_BYTES, _WORDS = 256 * 1024, 1024
_OURS = f"{APP_USER}:{APP_USER}"

Files = Callable[[], Mapping[str, str]]
"""Gives those of FILES that the image has; called only when one is needed."""


@dataclass(frozen=True)
class Foreign:
    """What an image's row is made of. `manifest` has the Startup, unless the image is one that the platform built."""

    env: dict[str, str]
    processes: dict[str, str]
    manifest: dict[str, Any]
    language: str = ""
    warnings: tuple[str, ...] = field(default=())


def read_config(config: Mapping[str, Any], files: Files) -> Foreign:
    """Raises BuildFailed for an image that cannot be run here."""
    settings = config.get("config")
    settings = settings if isinstance(settings, dict) else {}
    labels = {name: text for name, text in _object(settings, "Labels").items() if isinstance(text, str)}
    env = _env(settings)
    declared, left_out = _processes(labels)
    if labels.get(LANGUAGE) and settings.get("User") == _OURS and settings.get("WorkingDir") == "/app":
        return Foreign(env, declared, _app_json(files()), labels[LANGUAGE], left_out)
    args = (*_words(settings, "Entrypoint"), *_words(settings, "Cmd"))
    if not args or not args[0]:
        raise BuildFailed(
            "The image says nothing about what to run.",
            "Build it with a CMD or an ENTRYPOINT.",
            cause="no process types",
        )
    user, group, home = _user(str(settings.get("User") or ""), files)
    startup = Startup(
        args=args,
        cwd=_folder(settings.get("WorkingDir")),
        user=user,
        group=group,
        home=env.get("HOME", home),
        port=_port(settings),
        stop_signal=_stop_signal(settings.get("StopSignal")),
    )
    if len(startup.command) > MAX_BYTES:
        raise BuildFailed(
            f"The command of the image is longer than {MAX_BYTES >> 10} KiB.",
            "Put it into a script of the image, and name that in its CMD.",
            cause="bad image",
        )
    processes = {"web": startup.command, **declared}
    warnings = (*left_out, *_warnings(settings))
    return Foreign(env, processes, {STARTUP: startup.to_json()}, warnings=warnings)


def _object(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = settings.get(name)
    return value if isinstance(value, dict) else {}


def _words(settings: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = settings.get(name) or []
    words = value if isinstance(value, list) else []
    if len(words) > _WORDS or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise BuildFailed(f"{name} of the image is not a list of words.", cause="bad image")
    return tuple(words)


def _env(settings: Mapping[str, Any]) -> dict[str, str]:
    """The variables whose names a shell can use."""
    pairs = (word.partition("=") for word in _words(settings, "Env"))
    env = {name: value for name, _, value in pairs if _NAME.fullmatch(name)}
    if sum(len(name) + len(value) for name, value in env.items()) > _ENV_BYTES:
        raise BuildFailed(f"The image has more than {_ENV_BYTES >> 10} KiB of variables.", cause="bad image")
    return env


def _processes(labels: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The process types of the labels by the rules of a Procfile, and a warning about those that break one."""
    types = {name.removeprefix(PROCESS): text for name, text in labels.items() if name.startswith(PROCESS)}
    if len(types) > MAX_TYPES or sum(len(type) + len(text) for type, text in types.items()) > MAX_BYTES:
        raise BuildFailed(
            f"The image's labels {PROCESS}* are more than {MAX_TYPES}, or longer than {MAX_BYTES >> 10} KiB.",
            "Build it with fewer process types.",
            cause="bad image",
        )
    kept = {type: text for type, text in types.items() if _declares(type, text)}
    lost = [quoted(type) for type in types if type not in kept]
    said = f"Left out, as they declare no process type: labels {PROCESS}{{{','.join(lost[:5])}}}"
    return kept, (said,) if lost else ()


def _declares(type: str, command: str) -> bool:
    return (
        bool(TYPE.fullmatch(type))
        and type not in RESERVED
        and bool(command.strip())
        and not set(command) & set("\0\n\r")
    )


def _app_json(files: Mapping[str, str]) -> dict[str, Any]:
    """Read as strictly as at a push: an image that only claims to be ours may hold anything there. Raises BadInput."""
    return parse_app_json(files[APP_JSON].encode()).to_json() if APP_JSON in files else {}


def _folder(value: object) -> str:
    path = posixpath.normpath("/" + value.lstrip("/")) if isinstance(value, str) else "/"
    if "\0" in path or f"{path}/".startswith(("/proc/", "/sys/")):
        raise BuildFailed("The image's WORKDIR is no folder that an app may have.", cause="bad image")
    return path


def _port(settings: Mapping[str, Any]) -> int:
    """The lowest exposed TCP port."""
    matches = (_PORT.fullmatch(name) for name in _object(settings, "ExposedPorts"))
    ports = [int(match[1]) for match in matches if match and 0 < int(match[1]) < 65536]
    return min(ports, default=WEB_PORT)


def _stop_signal(value: object) -> str:
    text = str(value or STOP_SIGNAL).upper().removeprefix("SIG")
    if re.fullmatch("[0-9]{1,3}", text) and int(text) in {int(each) for each in signal.Signals}:
        text = signal.Signals(int(text)).name.removeprefix("SIG")
    return text if text in STOP_SIGNALS else STOP_SIGNAL


def _warnings(settings: Mapping[str, Any]) -> tuple[str, ...]:
    said = []
    if volumes := sorted(_object(settings, "Volumes"))[:5]:
        said.append(f"VOLUME {', '.join(volumes)[:200]}: what is written there goes with the instance")
    if settings.get("Healthcheck"):
        said.append("HEALTHCHECK is not run: the platform asks the web process over HTTP")
    return tuple(said)


# users


def _user(text: str, files: Files) -> tuple[int, int, str]:
    """User, group and home of `USER`: numbers, or names of the image's own files. Root is 0, and has no capability."""
    name, _, group_name = text.partition(":")
    if name in ("", "0", "root") and not group_name:
        return 0, 0, "/root"
    found = files()
    users = [line.split(":") for line in found.get(PASSWD, "").splitlines() if line.count(":") == 6]
    user = next((row for row in users if name in (row[0], row[2])), None)
    uid = _number(user[2] if user else name, f"USER {name}", PASSWD)
    gid, home = (_number(user[3], f"USER {name}", PASSWD), user[5] or "/") if user else (0, "/")
    if group_name:
        groups = [line.split(":") for line in found.get(GROUP, "").splitlines() if line.count(":") == 3]
        group = next((row for row in groups if group_name == row[0]), None)
        gid = _number(group[2] if group else group_name, f"group {group_name}", GROUP)
    return uid, gid, home if home.startswith("/") else "/"


def _number(text: str, what: str, file: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise BuildFailed(
            f"The image's {what[:80]} is not in its /{file}.",
            "Name one that is there, or a number, in the image's USER.",
            cause="bad image",
        )
    if int(text) >= ID_RANGE:
        raise BuildFailed(
            f"The image's {what[:80]} is number {text}; an app has the numbers 0 to {ID_RANGE - 1}.",
            "Choose a lower number in the image's USER.",
            cause="bad image",
        )
    return int(text)
