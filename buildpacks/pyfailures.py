"""What uv, git and Django print when they fail, and what to say about it.

The first hint that matches names the failure, so the narrow ones stand first. They look for the tools' own
sentences, because a compiler's output may contain any word.
"""

from __future__ import annotations

from collections.abc import Sequence

from buildpacks.aptnames import HEADERS, MODULES, PROGRAMS
from buildpacks.aptpackages import PUT_IT
from buildpacks.failurehint import FailureHint as Hint

_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)"
_HOST = r"https?://(?:[^@/\s'`]*@)?(?P<host>[^/\s'`)]+)"
"""An address, from which the host is kept without the credentials that may stand before it."""
_TOKEN = "A private repository needs a token from a config var: git+https://${{TOKEN}}@HOST/REPOSITORY"
_WHEEL = "Use a version of the package that comes as a wheel."
_PYTHON_ERROR = r"^[ \t]*(?P<why>[\w.]*(?:Error|Exception): .*)"

_GIT = (
    Hint(
        ("Git operation failed", "cannot run ssh"),
        "a git+ssh requirement cannot be fetched, because builds have no ssh",
        _TOKEN,
    ),
    Hint(
        (
            "Git operation failed",
            f"unable to access '{_HOST}",
            "Could not resolve host|Failed to connect|timed out",
        ),
        "{host}, where a git repository of the requirements is, cannot be reached",
        "Check the network and the name servers of the server: paas doctor",
    ),
    Hint(
        ("Git operation failed", f"could not read Username for '{_HOST}'"),
        "the git repository at {host} wants a login",
        _TOKEN,
    ),
    Hint(
        (
            "Git operation failed",
            rf"(?:unable to access|repository) '{_HOST}(?P<path>/[^']*?)/?'(?::|) (?P<why>.+)",
        ),
        "the git repository {host}{path} cannot be fetched: {why}",
        "Check its address in the requirements. " + _TOKEN,
    ),
    Hint(
        ("Git operation failed", "failed to fetch (?P<what>branch or tag|commit) `(?P<name>[^`]+)`"),
        "the git repository has no {what} {name}",
        "Check what stands behind the @ in the requirements.",
    ),
    Hint(
        "Git operation failed",
        "a git repository named in the requirements cannot be fetched",
        "Check its address. " + _TOKEN,
    ),
    Hint(
        "The source distribution `[^`]+` has no subdirectory `(?P<name>[^`]+)`",
        "the repository of a requirement has no folder {name}",
        "Correct what stands behind #subdirectory= in the requirements.",
    ),
)
_INDEX = (
    Hint(
        rf"An index URL \({_HOST}[^)]*\) could not be queried.*\((?P<why>\d+ [^)]+)\)",
        "the package index at {host} wants a login ({why})",
        "Correct the credentials in its address.",
    ),
    Hint(
        rf"An index \({_HOST}[^)]*\) returned a (?P<why>\d+ \w+)",
        "the package index at {host} refuses ({why})",
        "Correct its address or the credentials in it.",
    ),
    Hint(
        "Failed to download `(?P<name>[^` ]+) @ https?://",
        "the address of {name} in the requirements cannot be downloaded",
        "Check the address: the server must reach it, too.",
    ),
    Hint(
        (f"Failed to fetch: `?{_HOST}", r"HTTP status \w+ error \((?P<why>\d+ [^)]+)\)"),
        "{host} answered {why}",
        "Check the address of the package index; if it is right, push again later.",
    ),
    Hint(
        f"Failed to fetch: `?{_HOST}",
        "{host} cannot be reached",
        "Check the address of the package index, and from the server: paas doctor",
    ),
    Hint(
        r"^[ \t]*(?:error|cause|Caused by)\b.*(?:dns error|error sending request|operation timed out|Connection refused)",
        "a package could not be downloaded",
        "Check that the package index is reachable from the server: paas doctor",
    ),
)
_PLATFORMS = (
    Hint(
        (
            "has no wheels with a matching platform tag",
            r"Wheels are available for `(?P<name>[^`]+)` \(v(?P<version>[^)]+)\) on the following platforms?: "
            r"`manylinux_2_(?P<glibc>3[7-9]|[4-9]\d)_\w+`",
        ),
        "{name} {version} needs a newer C library: its wheels are for glibc 2.{glibc}, the stack is older",
        "Take an older version of it, whose wheels are for manylinux_2_28 or manylinux2014.",
    ),
    Hint(
        (
            "has no wheels with a matching platform tag",
            r"Wheels are available for `(?P<name>[^`]+)` \(v(?P<version>[^)]+)\) on the following platforms: (?P<only>.+)",
        ),
        "{name} {version} has no wheel for this machine, only for {only}",
        'Where the app runs without it, end its line with: ; sys_platform != "linux"',
    ),
    Hint(
        rf"[Bb]ecause {_NAME}(?:[<>=!]\S+)? has no wheels with a matching platform tag",
        "{name} has no wheel for this machine",
        "Leave it out, or take a version that has one.",
    ),
)
_VERSIONS = (
    Hint(
        f"[Bb]ecause {_NAME} was not found in the (?:package registry|provided package locations)",
        "no package named {name}",
        "Check the spelling in the requirements, and that the package index has it.",
    ),
    Hint(
        rf"there is no version of {_NAME}==(?P<version>[^\s,+]+\+[^\s,]+)",
        "no such version of {name}: {version} is not in this package index",
        "A version with a + is on an index of its own: name that in the requirements with --extra-index-url.",
    ),
    Hint(
        rf"there (?:is|are) no versions? of {_NAME}(?:[<>=!]\S+)?(?: and|,)",
        "no such version of {name}",
        "Pin a version that the package index has.",
    ),
    Hint(
        rf"[Bb]ecause only {_NAME}(?P<range>[<>=!]\S+) is available and (?:you require|\S+ depends on) (?P<wanted>[^\s,]+)",
        "no version fits {wanted}: the package index has {name}{range}",
        "Ask for a version that the package index has.",
    ),
    Hint(
        ("No solution found", r"depends on|you require \S+ and "),
        "the requirements contradict each other",
        "Loosen one of the versions named above.",
    ),
    Hint(
        "No solution found",
        "no set of versions fits the requirements",
        "Loosen one of the versions named above.",
    ),
)
_FILES = (
    Hint(
        r"Couldn't parse requirement|^error: (?:Unexpected|Expected) .*:\d+:\d+$",
        "a line of the requirements cannot be read",
        "Correct the line that is shown above.",
    ),
    Hint("Hash mismatch for `(?P<name>[^`]+)`", "hash mismatch for {name}", "Lock the dependencies again."),
    Hint(
        r"no trusted hash was provided for: `?(?P<name>[^`\s]+)",
        "the requirements have hashes, but none for {name}",
        "Lock the dependencies again together with all that they need.",
    ),
    Hint(
        r"must have their versions pinned with `==`, but found: (?P<name>\S+)",
        "the requirements have hashes, but {name} is not pinned with ==",
        "Lock the dependencies again.",
    ),
    Hint(
        r"Failed to parse `uv\.lock`|The lockfile at `uv\.lock` needs to be updated",
        "uv.lock cannot be used as it is",
        "Run uv lock and commit the result.",
    ),
    Hint(
        r"Distribution not found at: file:///app/(?P<path>\S+)",
        "{path} is not in the repository",
        "Commit it, or take its line out of the requirements.",
    ),
    Hint(
        "`/app/?(?P<path>[^`]*)` does not appear to be a Python project",
        "./{path} is not a Python project: it has neither pyproject.toml nor setup.py",
        "Commit the missing file, or take its line out of the requirements.",
    ),
    Hint(
        "Failed to read `[^` ]+ @ file:///app/(?P<path>[^`]+)`",
        "{path} cannot be read as a package",
        "Build the file again and commit it whole.",
    ),
)
_LACKS = "building needs {name} (Debian package {package}), which the stack does not have"
_DRIVERS = (
    Hint(
        r"pg_config executable not found|fatal error: libpq-fe\.h: No such file",
        "psycopg2 is compiled against libpq-dev, which the stack does not have",
        PUT_IT.format(package="libpq-dev") + " Or take psycopg2-binary, which comes as a wheel.",
    ),
    Hint(
        r"pkg-config --exists (?:mysqlclient|mariadb|libmariadb)\b|mysql_config: not found|fatal error: mysql\.h: No such file",
        "mysqlclient is compiled against default-libmysqlclient-dev, which the stack does not have",
        PUT_IT.format(package="default-libmysqlclient-dev")
        + " Or take PyMySQL, and in the app: import pymysql; pymysql.install_as_MySQLdb()",
    ),
)
_PACKAGES = (
    *_DRIVERS,
    Hint(r"fatal error: (?P<name>\S+\.h(?:pp)?): No such file", _LACKS, PUT_IT, HEADERS),
    Hint(r"'pkg-config --(?:exists|libs|cflags)\S* (?P<name>[A-Za-z0-9_.+-]+)", _LACKS, PUT_IT, MODULES),
    Hint(r"Run-time dependency (?P<name>[A-Za-z0-9_.+-]+) found: NO", _LACKS, PUT_IT, MODULES),
    Hint(r"No package '(?P<name>[A-Za-z0-9_.+-]+)' found", _LACKS, PUT_IT, MODULES),
    Hint(r"(?:^|[\s/])sh: (?:\d+: )?(?P<name>[\w-]+): (?:command )?not found", _LACKS, PUT_IT, PROGRAMS),
    Hint(r"No such file or directory: '(?P<name>[\w-]+)'", _LACKS, PUT_IT, PROGRAMS),
)
_COMPILING = (
    *_PACKAGES,
    Hint(
        r"fatal error: (?P<header>\S+\.h(?:pp)?): No such file",
        "compiling needs {header}, which the stack does not have",
        _WHEEL,
    ),
    Hint(
        r"'pkg-config --(?:exists|libs|cflags)\S* (?P<name>[A-Za-z0-9_.+-]+)",
        "compiling needs the library {name}, which the stack does not have",
        _WHEEL,
    ),
    Hint(
        "No space left on device",
        "the build ran out of disk",
        "Install less, or free disk on the server: paas doctor",
    ),
    Hint(
        "hint: `(?P<name>[^`]+)` is often confused for `(?P<meant>[^`]+)`",
        "the package {name} is often confused with {meant}",
        "Write {meant} in the requirements if that is meant.",
    ),
    Hint(
        ("Failed to build `(?P<name>[^`]+)`", f"failed to download from `{_HOST}"),
        "building {name} needs files from {host}, which cannot be reached",
        _WHEEL,
    ),
    Hint(
        ("Failed to build `(?P<name>[^`@ ]+) @ file:", _PYTHON_ERROR),
        "building {name} failed: {why}",
        "Correct its setup.py or pyproject.toml.",
    ),
    Hint("Failed to build `(?P<name>[^`]+)`", "building {name} failed", _WHEEL),
    Hint(
        ("The build backend returned an error", _PYTHON_ERROR),
        "a package of the repository cannot be built: {why}",
        "Correct its setup.py, or name what it needs under build-system.requires in its pyproject.toml.",
    ),
    Hint(
        "The build backend returned an error",
        "a package of the repository cannot be built",
        "Correct its setup.py or pyproject.toml.",
    ),
)


def _of_python(minor: str, others: Sequence[str]) -> tuple[Hint, ...]:
    """What does not fit Python `minor`. For a package that wants a newer one, the next of `others` that is."""
    newer = {
        f">={wanted}": next((other for other in others if _number(other) >= _number(wanted)), "")
        for wanted in (f"3.{number}" for number in range(_number(minor) + 1, 20))
    }
    return (
        Hint(
            (
                "has no wheels with a matching Python",
                r"only found wheels for `(?P<name>[^`]+)` \(v(?P<version>[^)]+)\)",
            ),
            f"{{name}} {{version}} has no wheel for Python {minor}",
            f"Take a version of it that supports Python {minor}.",
        ),
        Hint(
            r"(?:does not satisfy|requires) Python\s*(?P<name>>=3\.\d+)(?=[\s,`]|$)",
            f"a package does not support Python {minor} (it wants {{name}})",
            f"Write {{package}} into .python-version, or pin a version of it that supports Python {minor}.",
            {wanted: other for wanted, other in newer.items() if other},
        ),
        Hint(
            r"(?:does not satisfy|requires) Python\s*(?P<python>[<>=~!][^\s,`]*)",
            f"a package does not support Python {minor} (it wants {{python}})",
            f"Pin a version of it that supports Python {minor}.",
        ),
    )


def _number(minor: str) -> int:
    return int(minor.partition(".")[2])


def failure_hints(minor: str, others: Sequence[str] = ()) -> tuple[Hint, ...]:
    """What uv and compilers say in a build with Python `minor`; `others` are what an app could ask for, lowest first."""
    return (*_GIT, *_INDEX, *_PLATFORMS, *_of_python(minor, others), *_VERSIONS, *_FILES, *_COMPILING)


_COLLECT = "or: paas config:set DISABLE_COLLECTSTATIC=1"
DJANGO_NOTICES = (
    Hint(
        "^STATIC_ROOT is not set: nothing collected$",
        "the settings have no STATIC_ROOT: static files are not collected, and nothing serves them",
        "Set it, and let WhiteNoise serve them, for example.",
    ),
)
DJANGO_HINTS = (
    Hint(
        r"^(?:KeyError: '|\S*ImproperlyConfigured: Set the |\S*UndefinedValueError: )(?P<name>[A-Z][A-Z0-9_]+)\b",
        "the settings need the config var {name}",
        f"paas config:set {{name}}=VALUE, {_COLLECT}",
    ),
    Hint(
        r"^\S*(?:Error|ImproperlyConfigured|Exception)\b",
        "manage.py collectstatic failed",
        f"Set the config vars it needs, {_COLLECT}",
    ),
)
