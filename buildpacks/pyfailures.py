"""What uv and Django print when they fail, and what to say about it: (expression, cause, what to do)."""

from __future__ import annotations

FAILURE_HINTS = (
    (
        r"Because (?P<name>[A-Za-z0-9._-]+) was not found in the (?:package registry|provided package locations)",
        "no package named {name}",
        "Check the spelling in the requirements, and that the package index has it.",
    ),
    (
        r"Because there (?:is|are) no versions? of (?P<name>[A-Za-z0-9._-]+?)(?:==(?P<version>\S+))? and",
        "no such version of {name}",
        "Pin a version that the package index has.",
    ),
    (
        r"(?:does not satisfy|requires) Python\s*(?P<python>[<>=~!][^\s,`]*)",
        "a package does not support Python 3.11 (it wants {python})",
        "Pin a version of it that supports Python 3.11.",
    ),
    (
        r"Couldn't parse requirement",
        "a line of the requirements cannot be read",
        "Correct the line that is shown above.",
    ),
    (
        r"No solution found",
        "the requirements contradict each other",
        "Loosen one of the versions named above.",
    ),
    (r"Hash mismatch for `(?P<name>[^`]+)`", "hash mismatch for {name}", "Lock the dependencies again."),
    (
        r"(?i)dns error|error sending request|Failed to fetch|operation timed out|Connection refused",
        "a package could not be downloaded",
        "Check that the package index is reachable from the server: paas doctor",
    ),
    (
        r"(?:fatal error: )(?P<header>\S+\.h): No such file",
        "compiling needs {header}, which the stack has not",
        "Use a version of the package that comes as a wheel.",
    ),
    (r"Failed to build `(?P<name>[^`]+)`", "building {name} failed", "Use a version that comes as a wheel."),
)
DJANGO_HINTS = (
    (
        r"ImproperlyConfigured: You're using the staticfiles app without having set the STATIC_ROOT",
        "collectstatic needs STATIC_ROOT",
        "Set STATIC_ROOT in the settings, or: paas config:set DISABLE_COLLECTSTATIC=1",
    ),
    (
        r"(?m)^\S*(?:Error|ImproperlyConfigured|Exception)\b.*",
        "manage.py collectstatic failed",
        "Set the config vars it needs, or: paas config:set DISABLE_COLLECTSTATIC=1",
    ),
)
