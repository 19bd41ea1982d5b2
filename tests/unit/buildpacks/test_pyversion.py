from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks.plan import BuildRefused
from buildpacks.python import plan
from buildpacks.pyversion import Chosen, Download, Pythons, choose_python

STACKS = {
    "debian-12": ("3.11.2",),
    "debian-13": ("3.13.5",),
    "debian-14": ("3.14.8", "3.13.15", "3.15.0"),
}
FETCHED = {
    "3.12.1": Download("cpython-3.12.1"),
    "3.12.9": Download("cpython-3.12.9"),
    "3.9.25": Download("k"),
}
ALL = Pythons(of_stacks=STACKS, fetched=FETCHED)


def chosen(pythons: Pythons = ALL, **files: str) -> Chosen:
    names = {"version": ".python-version", "runtime": "runtime.txt", "project": "pyproject.toml"}
    tree: dict[str, str | bytes] = {names[name]: text for name, text in files.items() if name in names}
    if "requires" in files:
        tree["pyproject.toml"] = f'[project]\nname = "a"\nrequires-python = "{files["requires"]}"\n'
    if "requirements" in files:
        tree["requirements.txt"] = files["requirements"]
    return choose_python(DictTree(tree), pythons)


@pytest.mark.parametrize(
    ("files", "full", "stack"),
    [
        ({}, "3.11.2", "debian-12"),
        ({"version": "3"}, "3.11.2", "debian-12"),
        ({"version": "3.13"}, "3.13.5", "debian-13"),
        ({"version": "3.13.15"}, "3.13.15", "debian-14"),
        ({"runtime": "python-3.14.2"}, "3.14.8", "debian-14"),
        ({"version": "3.15"}, "3.15.0", "debian-14"),
        ({"version": "3.12"}, "3.12.9", ""),
        ({"version": "3.12.1"}, "3.12.1", ""),
        ({"version": "3.12.7"}, "3.12.9", ""),
        ({"requires": ">=3.9"}, "3.11.2", "debian-12"),
        ({"requires": ">=3.12"}, "3.13.5", "debian-13"),
        ({"requires": ">=3.14"}, "3.14.8", "debian-14"),
        ({"requires": ">=3.12,<3.13"}, "3.12.9", ""),
        ({"requires": "<3.11"}, "3.9.25", ""),
        ({"requires": ">=3.12", "version": "3.14"}, "3.14.8", "debian-14"),
    ],
)
def test_the_apps_stack_comes_first_then_other_stacks_then_what_can_be_fetched(
    files: dict[str, str], full: str, stack: str
) -> None:
    python = chosen(**files).python
    assert (python.full, python.stack) == (full, stack)


def test_a_patch_release_that_is_not_there_is_replaced_with_a_warning() -> None:
    assert chosen(version="3.12.1").warnings == ()
    assert "the newest that can be fetched is 3.12.9" in chosen(version="3.12.7").warnings[0]
    assert "the stack's patch release is 3.13.5" in chosen(version="3.13.1").warnings[0]


def test_an_app_that_chose_its_stack_stays_there() -> None:
    fixed = Pythons("debian-12", True, STACKS, FETCHED | {"3.13.18": Download("k")})
    assert chosen(fixed, version="3.13").python.download == Download("k")
    with pytest.raises(BuildRefused) as caught:
        chosen(Pythons("debian-12", True, STACKS), version="3.14")
    assert caught.value.message == (
        ".python-version asks for Python 3.14; there are 3.11 (stack debian-12); none that uv could fetch."
    )
    assert caught.value.hint == 'Take "stack" out of app.json, or write "stack": "debian-14" there.'
    assert chosen(Pythons("debian-14", True, STACKS)).python.full == "3.14.8"


@pytest.mark.parametrize("version", ["2.7", "3.6.6", "3.10", "3.16", "python-3.8"])
def test_what_cannot_be_had_is_refused_with_what_can_and_the_remedy_works(version: str) -> None:
    with pytest.raises(BuildRefused) as caught:
        chosen(version=version)
    assert caught.value.message.endswith(
        "there are 3.11 (stack debian-12); 3.13 (stack debian-13); 3.13, 3.14, 3.15 (stack debian-14); "
        "3.9, 3.12 (fetched by uv)."
    )
    remedy = caught.value.hint.split()[1]
    assert chosen(version=remedy).python.minor == remedy
    assert remedy == ("3.15" if version == "3.16" else "3.11")


def test_what_requires_python_leaves_out_is_no_remedy() -> None:
    with pytest.raises(BuildRefused) as caught:
        chosen(requires=">=3.12", version="3.11")
    assert caught.value.message == (
        '.python-version asks for Python 3.11, but requires-python in pyproject.toml requires Python ">=3.12".'
    )
    assert caught.value.hint.startswith("Write 3.13 into .python-version")
    assert chosen(requires=">=3.12").remedies == ("3.13", "3.14", "3.15")
    with pytest.raises(BuildRefused, match="there are 3"):
        chosen(requires="<3.8")


def test_a_range_beside_requirements_txt_only_prefers() -> None:
    assert chosen(requires=">=3.12", requirements="").python.minor == "3.13"
    found = chosen(requires="<3.8", requirements="")
    assert found.python.minor == "3.11"
    assert "requirements.txt decides" in found.warnings[0]


def test_a_fetched_python_lies_below_every_step_and_all_apps_share_it() -> None:
    entry = '{"url": "file:///x"}'
    pythons = Pythons(of_stacks=STACKS, fetched={"3.12.1": Download("cpython-3.12.1-x", entry)})
    files: dict[str, str | bytes] = {
        "requirements.txt": "django==5\n",
        "manage.py": "",
        ".python-version": "3.12",
    }
    first, *others = plan(DictTree(files), pythons).steps
    assert (first.name, first.shared, first.outputs) == ("python", True, ("/app/.python",))
    assert first.written == ((".paas-python.json", f'{{"cpython-3.12.1-x": {entry}}}'),)
    assert all(step.onto[0] == "python" for step in others)
    assert others[0].env["UV_PYTHON"] == "/app/.python/cpython-3.12.1-x/bin/python3.12"
    assert any("stacks bring 3.11, 3.13" in hint.advice for hint in first.failure_hints)
    assert (
        plan(DictTree({"requirements.txt": ""}), pythons).steps[0].env["UV_PYTHON"] == "/usr/bin/python3.11"
    )
