"""What tools print when they fail, and what is made of it. The output in `tests/data/build_failures.txt` is what the
tools really printed when each failure was staged: `#### TOOL NAME`, the cause and the advice, then the output."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from buildpacks import nodefailures, noderuntime, pyfailures
from buildpacks.bootfailures import BOOT_HINTS
from buildpacks.failurehint import FailureHint, named_cause

STAGED = Path(__file__).parents[2] / "data" / "build_failures.txt"
TABLES = {
    "boot": BOOT_HINTS,
    "uv": pyfailures.failure_hints("3.11"),
    "django": pyfailures.DJANGO_HINTS,
    "npm": nodefailures.FAILURE_HINTS,
    "npm-build": nodefailures.BUILD_HINTS,
    "node": noderuntime.runtime_step("22.0.0").failure_hints,
}
CASES = [block.split("\n") for block in re.split(r"(?m)^#### ", STAGED.read_text())[1:]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].replace(" ", "-"))
def test_a_staged_failure_is_told_by_its_cause(case: list[str]) -> None:
    head, cause, advice, *output = case
    told = named_cause(TABLES[head.split()[0]], output)
    assert told == (None if cause == "=> -" else (cause.removeprefix("=> "), advice.removeprefix("=> ")))


@pytest.mark.parametrize("hint", [hint for table in TABLES.values() for hint in table])
def test_every_hint_ends_in_advice_that_can_be_shown(hint: FailureHint) -> None:
    says = (hint.says,) if isinstance(hint.says, str) else hint.says
    groups = {name: "x" for expression in says for name in re.compile(expression).groupindex} | {
        "package": "x"
    }
    assert hint.cause.format(**groups)
    assert hint.advice.format(**groups)


@pytest.mark.parametrize(
    ("tool", "text", "cause"),
    [
        ("uv", "Because flask was not found in the provided package locations and you require", "no package named flask"),
        ("uv", "error: Failed to fetch: `https://x/`\n  Caused by: dns error", "x cannot be reached"),
        ("uv", "error: x\n  Caused by: dns error", "a package could not be downloaded"),
        ("uv", "psycopg/x.c:1:10: fatal error: libpq-fe.h: No such file or directory", "psycopg2 is compiled against libpq-dev"),
        ("uv", "a.c:1:10: fatal error: nobody/knows.h: No such file or directory", "compiling needs nobody/knows.h"),
        ("uv", "Error: pg_config executable not found.", "psycopg2 is compiled against libpq-dev"),
        ("npm", "gyp ERR! build error\n../a.cc:1:10: fatal error: cairo.h: No such file or directory", "compiling a native package needs cairo.h (Debian package libcairo2-dev)"),
        ("npm", "npm ERR! code EBADENGINE\n", "a package wants another version of Node"),
        ("npm", "npm error code ENOTFOUND\n", "the npm registry could not be reached"),
        ("npm", "gyp ERR! build error\n", "compiling a native package failed"),
        ("npm-build", 'Could not resolve "./x" from "src/main.js"', "src/main.js imports ./x"),
        ("node", "urllib.error.HTTPError: HTTP Error 404: Not Found", "the registry has no Node"),
        ("django", "ValueError: x", "manage.py collectstatic failed"),
        ("django", "django.core.exceptions.ImproperlyConfigured: Set the DATABASE_URL environment variable",
            "the settings need the config var DATABASE_URL"),
    ],
)  # fmt: skip
def test_failures_that_could_not_be_staged_are_told_too(tool: str, text: str, cause: str) -> None:
    told = named_cause(TABLES[tool], text.split("\n"))
    assert told is not None
    assert told[0].startswith(cause)


def test_warnings_and_a_compilers_words_name_no_cause() -> None:
    output = ["npm warn EBADENGINE Unsupported engine", "test.c: Connection refused", "operation timed out"]
    assert all(named_cause(table, output) is None for name, table in TABLES.items() if name != "node")


@pytest.mark.parametrize("tool", TABLES)
def test_hostile_output_costs_linear_time(tool: str) -> None:
    """Ten times the lines take about ten times as long: no hint looks back and forth over the whole output."""
    words = (
        "Git operation failed ",
        "No solution found a-a-a-a- ",
        "npm error code ",
        "Because only a",
        "error: ",
        "'pkg-config --libs ",
    )
    line = "".join(word * 12 for word in words)
    blank = ["The build backend returned an error", "Failed to build `x @ file:"]

    def seconds(lines: int) -> float:
        began = time.process_time()
        named_cause(TABLES[tool][:-1], [line] * lines)
        named_cause(TABLES[tool][:-1], [*blank, *[" " * 600] * lines])
        return time.process_time() - began

    seconds(10)
    assert seconds(400) < 40 * seconds(40) + 0.05


def test_a_name_that_is_in_no_package_leaves_the_output_to_the_next_hint() -> None:
    hint = FailureHint(r"needs (?P<name>\S+)", "{name} is in {package}", "", {"a.h": "liba-dev"})
    assert hint.read("needs a.h") == ("a.h is in liba-dev", "")
    assert hint.read("needs b.h") is None


def test_a_package_that_wants_a_newer_python_is_answered_with_one_that_can_be_had() -> None:
    printed = (
        "  cause: Because the current Python version (3.11.2) does not satisfy Python>=3.12 and django==6.0 depends on "
        "Python>=3.12, we can conclude that django==6.0 cannot be used."
    )
    told = named_cause(pyfailures.failure_hints("3.11", ("3.11", "3.13", "3.14")), [printed])
    assert told is not None
    assert told[0] == "a package does not support Python 3.11 (it wants >=3.12)"
    assert told[1].startswith("Write 3.13 into .python-version")
    alone = named_cause(pyfailures.failure_hints("3.11", ("3.11",)), [printed])
    assert alone is not None
    assert alone[1] == "Pin a version of it that supports Python 3.11."
