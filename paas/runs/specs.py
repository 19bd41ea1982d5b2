"""From apps, releases and images to containers: the translation into `ContainerSpec`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from paas.nouns.model import App, Image, Instance, Release
from paas.nouns.names import own_config
from runtime.spec import APP_USER, ID_RANGE, MIB, ContainerSpec, Limits, Log, Terminal

WEB = "web"
WEB_PORT = 5000
RELEASE_TYPE = "release"
BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PROFILE = 'for f in /app/.profile.d/*.sh; do if [ -r "$f" ]; then . "$f"; fi; done; unset f\n'
_SHELL_SYNTAX = re.compile(r"[;&|<>(){}`\n\\!]|^[ \t]*[A-Za-z_][A-Za-z0-9_]*=|(^|\s)#")
_PARAMETER = re.compile(r"\$\{[^{}`]*\}")
_SHELL_WORD = re.compile(
    r"[.:\[]|\[\[|alias|bg|break|builtin|case|cd|command|continue|declare|disown|echo|eval|exec|exit|export|false"
    r"|fg|for|function|getopts|hash|if|jobs|kill|let|local|printf|pwd|read|readonly|return|select|set|shift|shopt"
    r"|source|test|time|times|trap|true|type|typeset|ulimit|umask|unalias|unset|until|wait|while"
)


def id_base(block_base: int, app: App) -> int:
    """Where the app's range of user ids begins; `block_base` is the platform's block (spawner: `info`)."""
    return block_base + ID_RANGE * app.range_index


def limits_of(release: Release | None, type: str) -> Limits:
    """The quotas of a process type: the defaults and what the release says otherwise. When cpus are scarce, its
    share of them is in proportion to its cpu quota."""
    changes = release.limits.get(type, {}) if release else {}
    known = {name: value for name, value in changes.items() if name in Limits.__dataclass_fields__}
    limits = replace(Limits(), **known)
    return replace(limits, cpu_weight=max(1, min(10_000, limits.cpu_millis // 10)))


def web_concurrency(limits: Limits) -> int:
    """Worker processes that suit the quota: two per core, a quarter of a GiB each, at least one."""
    cores = max(1, -(-limits.cpu_millis // 1000))
    return max(1, min(2 * cores, limits.memory_bytes // (256 * MIB)))


def shell_argv(command: str) -> tuple[str, ...]:
    """`bash -c` after the image's profile scripts. A simple command takes the shell's place, so that signals
    and exit statuses are its own; anything with shell syntax stays in the shell."""
    plain = _PARAMETER.sub("x", command.strip())
    words = plain.split()
    simple = bool(words) and not _SHELL_WORD.fullmatch(words[0]) and not _SHELL_SYNTAX.search(plain)
    return ("bash", "-c", _PROFILE + ("exec " if simple else "") + command)


def exec_argv(words: Sequence[str]) -> tuple[str, ...]:
    """A command given as words, run as they are, after the image's profile scripts."""
    return ("bash", "-c", _PROFILE + 'exec "$@"', "bash", *words)


def environment(
    app: App,
    release: Release | None,
    image: Image,
    config: Mapping[str, str],
    instance: Instance,
    limits: Limits,
) -> dict[str, str]:
    """All a process finds in its environment: base, image, config vars, and what only the platform says."""
    env = {
        "PATH": BASE_PATH,
        "LANG": "C.UTF-8",
        "HOME": "/app",
        "WEB_CONCURRENCY": str(web_concurrency(limits)),
        "MEMORY_AVAILABLE": str(limits.memory_bytes // MIB),
        **image.env,
        **own_config(config),
        "PWD": "/app",
        "DYNO": instance.name,
        "PAAS_APP": app.name,
        "PAAS_PROCESS": instance.name,
    }
    if release is not None:
        env["PAAS_RELEASE"] = f"v{release.number}"
        if release.commit:
            env["SOURCE_VERSION"] = release.commit
    env.pop("PORT", None)
    if instance.type == WEB:
        env["PORT"] = str(WEB_PORT)
    return env


def process_spec(
    app: App,
    release: Release,
    image: Image,
    config: Mapping[str, str],
    instance: Instance,
    *,
    block_base: int,
) -> ContainerSpec:
    """One instance of a process type. Raises KeyError when the image has no such type."""
    command = image.processes[instance.type]
    return _spec(app, release, image, config, instance, shell_argv(command), block_base=block_base)


def release_spec(
    app: App,
    release: Release,
    image: Image,
    config: Mapping[str, str],
    instance: Instance,
    *,
    block_base: int,
    wall_s: float,
) -> ContainerSpec:
    """The release command, killed after `wall_s` seconds. Raises KeyError when the image has none."""
    spec = process_spec(app, release, image, config, instance, block_base=block_base)
    return replace(spec, limits=replace(spec.limits, wall_s=wall_s))


def run_spec(
    app: App,
    release: Release,
    image: Image,
    config: Mapping[str, str],
    instance: Instance,
    *,
    block_base: int,
    command: Sequence[str],
    terminal: Terminal | None = None,
    attach: bool = True,
    env: Mapping[str, str] | None = None,
) -> ContainerSpec:
    """A one-off command. A single word that names a process type runs that type's command; a single argument
    is a shell line; several are taken as they are. `env` adds to the environment (`TERM`)."""
    if len(command) == 1:
        argv = shell_argv(image.processes.get(command[0], command[0]))
    else:
        argv = exec_argv(command)
    spec = _spec(app, release, image, config, instance, argv, block_base=block_base)
    return replace(spec, env={**spec.env, **(env or {})}, terminal=terminal, attach=attach)


def _spec(
    app: App,
    release: Release,
    image: Image,
    config: Mapping[str, str],
    instance: Instance,
    argv: tuple[str, ...],
    *,
    block_base: int,
) -> ContainerSpec:
    limits = limits_of(release, instance.type)
    return ContainerSpec(
        id=instance.runtime_id,
        layers=image.layers,
        argv=argv,
        id_base=id_base(block_base, app),
        log=Log(app.id, "app", instance.name),
        env=environment(app, release, image, config, instance, limits),
        user=APP_USER,
        group=APP_USER,
        hostname=_hostname(app, instance),
        limits=limits,
    )


def _hostname(app: App, instance: Instance) -> str:
    text = f"{app.name}-{instance.name}".lower()
    return re.sub(r"[^a-z0-9]+", "-", text)[:63].strip("-")
