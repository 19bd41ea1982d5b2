"""Debian packages that an app asks for, or that its language is made of: one layer, below all others. Pure.

`Aptfile` has a name a line, as Heroku's apt buildpack reads it; `project.toml` has `install` of its deb-packages
buildpack. Names only: another repository or a file from an address is code that nobody signed for this platform.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from buildpacks.failurehint import FailureHint as Hint
from buildpacks.plan import BuildRefused, Step, Tree, quoted, read_text
from buildpacks.projecttoml import PROJECT, section

NAME, BUILD_NAME, TOOL = "packages", "build-packages", "apt"
"""NAME and BUILD_NAME are steps whose layers lie below all others; builds alone have the second. A step with TOOL gets the
machine's apt settings at /run/apt."""

APTFILE = "Aptfile"
PUT_IT = 'Add a line "{package}" to a file named Aptfile, commit it and push again.'
_RECIPE = "packages-1"
_MOST = 300
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](=[A-Za-z0-9.+:~-]+)?")

_SCRIPT = r"""export APT_CONFIG=/tmp/apt.conf DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=1672531200
cat >$APT_CONFIG <<'CONF'
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "false";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
DPkg::Use-Pty "false";
DPkg::Options { "--force-confnew"; "--force-unsafe-io"; };
CONF
[ ! -f /run/apt/apt.conf ] || cat /run/apt/apt.conf >>$APT_CONFIG
mkdir -p /usr/share/man/man1  # which Java's packages write links into, though manuals are left out
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -qq update
if ! apt-get -qq -y install "$@" >/tmp/install.log 2>&1; then
  tail -n 60 /tmp/install.log
  apt-cache pkgnames >/tmp/known
  python3 - "$@" <<'NEAR'
import difflib, sys
known = open("/tmp/known").read().split()
lost = [name for name in (word.partition("=")[0] for word in sys.argv[1:]) if name not in known]
for name in lost[:5]:
    near = difflib.get_close_matches(name, known, 4, 0.7)
    print(f"There is no Debian package {name}; near names: {', '.join(near) or 'none'}")
if len(lost) > 1:
    print(f"{len(lost)} of the packages are not there: {', '.join(lost[:10])}{' …' if len(lost) > 10 else ''}")
NEAR
  exit 100
fi
dpkg-query -W -f '${Package} ${Version}\n' "${@%%=*}"
echo "With what they depend on: $(grep -c '^Setting up' /tmp/install.log) packages"
rm -f /usr/sbin/policy-rc.d /etc/.pwd.lock /etc/*-
find /var/lib/apt/lists -mindepth 1 -delete
rm -f /var/lib/apt/extended_states /var/lib/dpkg/*-old /var/lib/dpkg/lock* /var/lib/dpkg/triggers/Lock
"""
_FAILURES = (
    Hint(
        r"^(?P<count>\d+) of the packages are not there: (?P<names>.+)",
        "{count} of the Debian packages are not there: {names}",
        "The lines above name near ones. Correct the names in " + APTFILE + ".",
    ),
    Hint(
        r"There is no Debian package (?P<name>[\w.+-]+); near names: (?P<near>(?!none).+)",
        "there is no Debian package {name}",
        "Near names are {near}. Correct the name in " + APTFILE + ".",
    ),
    Hint(
        r"There is no Debian package (?P<name>[\w.+-]+)",
        "there is no Debian package {name}",
        "Look its name up on packages.debian.org, and correct it in " + APTFILE + ".",
    ),
    Hint(
        r"Package '?(?P<name>[\w.+-]+)'? has no installation candidate",
        "Debian has only the name of {name}, no package to install",
        "Name the package that took its place.",
    ),
    Hint(
        r"Version '(?P<version>[^']+)' for '(?P<name>[^']+)' was not found",
        "{name} does not come in version {version}",
        "Leave the version out, and get the stack's.",
    ),
    Hint(
        r"^ (?P<name>\S+) : (?:Depends|Conflicts|Breaks): (?P<what>[^\n]+)",
        "{name} does not go with the other packages ({what})",
        "Leave one of them out.",
    ),
    Hint(
        r"(?:Could not resolve|Temporary failure resolving|Could not connect to) '?(?P<host>[\w.-]+)",
        "Debian's mirror {host} cannot be reached",
        "The server itself must reach it: apt-get update, and paas doctor",
    ),
)


def packages_step(names: Iterable[str], *, in_image: bool = True) -> Step:
    """The layer of these packages, with what they depend on, over the stack that apps run on, or build on when they are
    not for the image. Apps share it."""
    chosen = sorted(set(names))
    return Step(
        name=NAME if in_image else BUILD_NAME,
        title=f"Installing Debian packages{'' if in_image else ' for the build'}",
        script=f"set -- {' '.join(chosen)}\n{_SCRIPT}",
        outputs=("/usr", "/etc", "/opt", "/var/lib"),
        key=(_RECIPE,),
        tools=(TOOL,),
        base="run" if in_image else "build",
        in_image=in_image,
        root=True,
        shared=True,
        failure_hints=_FAILURES,
        reused="Restoring cache: Debian packages unchanged, layer reused" if in_image else "",
    )


def asked_for(tree: Tree) -> tuple[str, ...]:
    """The packages that the app's files name, sorted. Raises BuildRefused naming the file and the line."""
    found = [*_aptfile(tree), *_project(tree)]
    if len(found) > _MOST:
        raise BuildRefused(f"{len(found)} Debian packages are asked for; {_MOST} are the most.")
    return tuple(sorted(set(found)))


def _aptfile(tree: Tree) -> Iterator[str]:
    if not tree.exists(APTFILE):
        return
    for number, line in enumerate(read_text(tree, APTFILE, 65536).splitlines(), start=1):
        text = line.partition("#")[0].strip()
        if text.startswith(":repo:"):
            raise _no_repository(f"{APTFILE} line {number}", text)
        for word in text.split():
            yield _checked(word, f"{APTFILE} line {number}")


def _project(tree: Tree) -> Iterator[str]:
    found = section(tree, "com", "heroku", "buildpacks", "deb-packages")
    if not isinstance(found, dict):
        return
    if found.get("sources"):
        raise _no_repository(PROJECT, "sources")
    wanted = found.get("install", [])
    for item in wanted if isinstance(wanted, list) else [wanted]:
        yield _checked(str(item.get("name", "")) if isinstance(item, dict) else str(item), PROJECT)


def _checked(word: str, where: str) -> str:
    if "://" in word or word.endswith(".deb"):
        raise BuildRefused(
            f"{where} names a file, {quoted(word)}: only packages of Debian are installed.",
            "Name the package, or bring its program with the app.",
        )
    if not _PACKAGE.fullmatch(word):
        raise BuildRefused(
            f"{where}: {quoted(word)} is not the name of a Debian package.",
            "Write a name a line, as in: ffmpeg",
        )
    return word


def _no_repository(where: str, text: str) -> BuildRefused:
    return BuildRefused(
        f"{where} names another repository, {quoted(text)}: packages come from Debian's own.",
        "Remove it. What Debian does not have must come with the app or from its language's package manager.",
    )
