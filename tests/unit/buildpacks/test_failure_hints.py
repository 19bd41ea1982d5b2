"""What tools print when they fail, and what is made of it: lines as the tools really print them."""

from __future__ import annotations

import re

import pytest

from buildpacks import node, noderuntime, pyfailures

ALL = (
    *pyfailures.FAILURE_HINTS,
    *pyfailures.DJANGO_HINTS,
    *node.FAILURE_HINTS,
    *node.BUILD_HINTS,
    *noderuntime.runtime_step("22.0.0").failure_hints,
)


def named(hints: tuple[tuple[str, str, str], ...], text: str) -> str:
    for pattern, cause, _ in hints:
        match = re.search(pattern, text)
        if match:
            return cause.format(**match.groupdict())
    return ""


@pytest.mark.parametrize("hint", ALL)
def test_every_hint_can_be_shown(hint: tuple[str, str, str]) -> None:
    pattern, cause, advice = hint
    groups = dict.fromkeys(re.compile(pattern).groupindex, "x")
    assert cause.format(**groups)
    assert advice.format(**groups).endswith((".", "doctor", "=1"))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "  × No solution found when resolving dependencies:\n  ╰─▶ Because flaks was not found in the package "
            "registry and you require flaks, we can conclude that your requirements are unsatisfiable.",
            "no package named flaks",
        ),
        (
            "Because flask was not found in the provided package locations and you require",
            "no package named flask",
        ),
        (
            "Because there is no version of flask==99.0 and you require flask==99.0, we can conclude",
            "no such version of flask",
        ),
        (
            "Because the current Python version (3.11.2) does not satisfy Python>=3.12 and django==6.0 depends on "
            "Python>=3.12, we can conclude that django==6.0 cannot be used.",
            "a package does not support Python 3.11 (it wants >=3.12)",
        ),
        (
            "Because a==1 depends on b==1 and you require b==2 ... No solution found",
            "the requirements contradict each other",
        ),
        (
            "error: Couldn't parse requirement in `requirements.txt` at position 0\n  cause: no such comparison",
            "a line of the requirements cannot be read",
        ),
        ("error: Failed to fetch: `https://x/`\n  Caused by: dns error", "a package could not be downloaded"),
        (
            "psycopg/x.c:1:10: fatal error: libpq-fe.h: No such file or directory",
            "compiling needs libpq-fe.h",
        ),
        ("  × Failed to build `uwsgi==2.0.20`\n", "building uwsgi==2.0.20 failed"),
    ],
)
def test_failures_of_uv_are_put_into_words(text: str, cause: str) -> None:
    assert named(pyfailures.FAILURE_HINTS, text).startswith(cause)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("npm error code EUSAGE\nnpm error `npm ci` can only install", "package-lock.json does not fit package.json"),
        ("npm ERR! code EBADENGINE\n", "a package wants another version of Node"),
        ("npm error 404  'left-pad-nope@1.0.0' is not in this registry.", "no package left-pad-nope@1.0.0 in"),
        ("npm error code ETARGET\n", "a package or version is not in the registry"),
        ("npm error code ERESOLVE\n", "the dependencies contradict each other"),
        ("npm error code ENOTFOUND\n", "the npm registry could not be reached"),
        ("FATAL ERROR: Ineffective mark-compacts near heap limit - JavaScript heap out of memory", "the build script ran"),
        ("> tsc\n\nsh: 1: tsc: not found\n", "command not found: tsc"),
        ('npm error Missing script: "bild"\n', "package.json has no script bild"),
        ("gyp ERR! build error\n", "compiling a native package failed"),
    ],
)  # fmt: skip
def test_failures_of_npm_are_put_into_words(text: str, cause: str) -> None:
    assert named(node.BUILD_HINTS, text).startswith(cause)


def test_failures_of_django_are_put_into_words() -> None:
    missing = "Traceback:\n  File \"x\", line 1\nKeyError: 'SECRET_KEY'\n"
    assert named(pyfailures.DJANGO_HINTS, missing) == "manage.py collectstatic failed"
    root = "django.core.exceptions.ImproperlyConfigured: You're using the staticfiles app without having set the STATIC_ROOT setting"
    assert named(pyfailures.DJANGO_HINTS, root) == "collectstatic needs STATIC_ROOT"
