from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks.detect import choose
from buildpacks.failurehint import named_cause
from buildpacks.plan import Plan


def chosen(**files: str) -> Plan:
    names = {
        "requirements": "requirements.txt",
        "package": "package.json",
        "site": "index.html",
        "code": "main.py",
    }
    return choose(DictTree({names.get(name, name): text for name, text in files.items()}), {"web": "x"})


def test_what_is_installed_is_checked_once_over_the_stack_of_apps_whatever_the_code_is() -> None:
    plan = chosen(requirements="flask==3\n", code="a")
    installed, check = plan.steps
    assert (check.name, check.base, check.onto) == ("libraries", "run", (installed.name,))
    assert not check.source
    assert check == chosen(requirements="flask==3\n", code="b").steps[1]
    assert not check.shared
    hashed = chosen(requirements="flask==3 --hash=sha256:aa\n")
    assert all(step.shared for step in hashed.steps)


def test_where_nothing_is_installed_nothing_is_checked() -> None:
    assert [step.name for step in chosen(site="hello").steps if step.name == "libraries"] == []


def test_packages_of_node_are_checked_above_node_and_below_the_source() -> None:
    names = [
        step.name for step in chosen(package='{"dependencies": {"x": "1"}, "scripts": {"start": "x"}}').steps
    ]
    assert names.index("libraries") == names.index("dependencies") + 1


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (
            "/app/.venv/bin/uwsgi needs the library libpython3.11.so.1.0",
            (
                ".venv/bin/uwsgi was compiled against libpython3.11.so.1.0, which apps do not have when they run",
                'Add a line "libpython3.11" to a file named Aptfile, commit it and push again.',
            ),
        ),
        (
            "/app/.venv/lib/x.so needs the library libown.so.7",
            (
                ".venv/lib/x.so was compiled against libown.so.7, which apps do not have when they run",
                "Look up the Debian package that holds it, and write it into an Aptfile.",
            ),
        ),
    ],
)
def test_the_file_the_library_and_its_package_are_named(printed: str, told: tuple[str, str]) -> None:
    hints = chosen(requirements="flask==3\n").steps[1].failure_hints
    assert named_cause(hints, [printed]) == told
