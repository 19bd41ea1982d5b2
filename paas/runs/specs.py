"""From apps, releases and images to containers: the translation into Order and Box. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from paas.nouns.model import App, Image, Instance, Release
from paas.nouns.names import own_config
from paas.nouns.startup import Startup
from runtime.spec import ID_RANGE, MIB, Box, Limits, Order, Process, Terminal

WEB = "web"
RELEASE_TYPE = "release"
BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PROFILE = 'for f in /app/.profile.d/*.sh; do if [ -r "$f" ]; then . "$f"; fi; done; unset f\n'
_NOT_EXECUTED = r"""
s=$?; f=$(type -P -- @ || printf %s @)
if [ -f "$f" ]; then
  l=; IFS= read -r l 2>/dev/null <"$f"; [[ $l != $'\177ELF'* ]] || l=ELF
  l=${l:0:80}; l=${l//$'\r'/\\r}
  printf 'bash: %s: mode %s, first line %s\n' "$f" "$(stat -Lc %a -- "$f")" "${l//[![:print:]]/?}" >&2
fi
exit $s"""
"""What a shell that could not execute a simple command says of its file: converge/unstartable.py explains it to people."""
_FILE = re.compile(r"[\w./+-]+")
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
    if not simple:
        return ("bash", "-c", _PROFILE + command)
    facts = _NOT_EXECUTED.replace("@", words[0]) if _FILE.fullmatch(words[0]) else ""
    return ("bash", "-c", f"{_PROFILE}{'shopt -s execfail' if facts else ''}\nexec {command}{facts}")


def _argv(image: Image, type: str) -> tuple[str, ...]:
    """What runs a process type. An image that says itself how it starts may have no bash."""
    command = image.processes[type]
    startup = image.startup
    if startup is None:
        return shell_argv(command)
    return startup.args if type == WEB and startup.args else ("/bin/sh", "-c", command)


def exec_argv(words: Sequence[str]) -> tuple[str, ...]:
    """A command given as words, run as they are, after the image's profile scripts."""
    return ("bash", "-c", _PROFILE + 'exec "$@"', "bash", *words)


@dataclass(frozen=True)
class Origin:
    """What a container is made from, read in one transaction."""

    app: App
    release: Release
    image: Image
    config: Mapping[str, str]


def environment(origin: Origin, instance: Instance, limits: Limits) -> dict[str, str]:
    """The whole environment of a process: base, image, config vars, and the platform's own variables."""
    release, startup = origin.release, origin.image.startup
    env = {
        "PATH": BASE_PATH,
        "LANG": "C.UTF-8",
        "HOME": startup.home if startup else "/app",
        "WEB_CONCURRENCY": str(web_concurrency(limits)),
        "MEMORY_AVAILABLE": str(limits.memory_bytes // MIB),
        **origin.image.env,
        **own_config(origin.config),
        "PWD": startup.cwd if startup else "/app",
        "DYNO": instance.name,
        "PAAS_APP": origin.app.name,
        "PAAS_PROCESS": instance.name,
        "PAAS_RELEASE": f"v{release.number}",
    }
    if release.commit:
        env["SOURCE_VERSION"] = release.commit
    env.pop("PORT", None)
    if instance.type == WEB:
        env["PORT"] = str(origin.image.web_port)
    return env


def process_spec(origin: Origin, instance: Instance, *, block_base: int) -> tuple[Order, Box]:
    """One instance of a process type. Raises KeyError when the image has no such type."""
    return _spec(origin, instance, _argv(origin.image, instance.type), block_base=block_base)


def release_spec(origin: Origin, instance: Instance, *, block_base: int, wall_s: float) -> tuple[Order, Box]:
    """The release command, killed after `wall_s` seconds. Raises KeyError when the image has none."""
    order, box = process_spec(origin, instance, block_base=block_base)
    return order, with_wall_limit(box, wall_s)


def with_wall_limit(box: Box, wall_s: float) -> Box:
    return replace(box, resources=replace(box.resources, wall_s=wall_s))


def run_spec(
    origin: Origin,
    instance: Instance,
    *,
    block_base: int,
    command: Sequence[str],
    terminal: Terminal | None = None,
    attach: bool = True,
    env: Mapping[str, str] | None = None,
) -> tuple[Order, Box]:
    """A one-off command. A single word that names a process type runs that type's command; a single argument
    is a shell line (a program's name needs none in an image that may have no shell); several are taken as they are. `env` adds to the environment (`TERM`)."""
    if len(command) == 1 and command[0] in origin.image.processes:
        argv = _argv(origin.image, command[0])
    elif origin.image.startup is not None:
        line = len(command) == 1 and (not _FILE.fullmatch(command[0]) or _SHELL_WORD.fullmatch(command[0]))
        argv = ("/bin/sh", "-c", command[0]) if line else tuple(command)
    elif len(command) == 1:
        argv = shell_argv(command[0])
    else:
        argv = exec_argv(command)
    order, box = _spec(origin, instance, argv, block_base=block_base)
    env = {**box.process.env, **(env or {})}
    return order, replace(box, process=replace(box.process, env=env, terminal=terminal, attach=attach))


def _spec(origin: Origin, instance: Instance, argv: tuple[str, ...], *, block_base: int) -> tuple[Order, Box]:
    limits = limits_of(origin.release, instance.type)
    type, number = instance.slot
    return Order(instance.runtime_id, origin.app.id, type, number, origin.release.number), Box(
        layers=origin.image.layers,
        process=_process(argv, environment(origin, instance, limits), origin.image.startup),
        id_base=id_base(block_base, origin.app),
        hostname=_hostname(origin.app, instance),
        resources=limits,
    )


def _process(argv: tuple[str, ...], env: dict[str, str], startup: Startup | None) -> Process:
    if startup is None:
        return Process(argv, env)
    return Process(argv, env, cwd=startup.cwd, user=startup.user, group=startup.group)


def _hostname(app: App, instance: Instance) -> str:
    text = f"{app.name}-{instance.name}".lower()
    return re.sub(r"[^a-z0-9]+", "-", text)[:63].strip("-")
