from __future__ import annotations

import json

import pytest
from harness import pylocks as made
from harness.sources import DictTree

from buildpacks.plan import BuildRefused
from buildpacks.pylocks import Locked, read_lock
from buildpacks.python import plan

LOCKS = {
    "poetry.lock": {"poetry.lock": made.POETRY, "pyproject.toml": made.POETRY_PROJECT},
    "pdm.lock": {"pdm.lock": made.PDM, "pyproject.toml": made.PDM_PROJECT},
    "Pipfile.lock": {"Pipfile.lock": made.PIPFILE_LOCK, "Pipfile": made.PIPFILE},
}


def locked(path: str, **changed: str) -> Locked:
    return read_lock(DictTree({**LOCKS[path], **changed}), path)


@pytest.mark.parametrize("path", LOCKS)
def test_a_lock_becomes_pinned_requirements_with_digests_and_without_development_groups(path: str) -> None:
    result = locked(path)
    lines = [line for line in result.text.splitlines() if line.startswith("itsdangerous==2.2.0")]
    assert len(lines) == 1
    assert lines[0].endswith(f" --hash={made.WHEEL} --hash={made.ARCHIVE}")
    assert "iniconfig" not in result.text
    assert result.warnings == ()
    step = plan(DictTree({**LOCKS[path]})).steps[0]
    assert "--require-hashes" in step.script and step.shared
    assert step.written == ((".paas-requirements.txt", result.text),)


def test_markers_are_kept() -> None:
    assert 'itsdangerous==2.2.0 ; sys_platform == "linux" --hash' in locked("poetry.lock").text
    assert "gunicorn==27.0.1 ; python_version >= '3.10' --hash" in locked("Pipfile.lock").text


def test_a_lock_of_poetry_1_is_followed_from_the_projects_dependencies() -> None:
    def package(name: str, needs: str = "") -> str:
        files = f'files = [{{file = "x", hash = "{made.NONE}"}}]\n'
        return f'[[package]]\nname = "{name}"\nversion = "1.0"\n{files}[package.dependencies]\n{needs}\n'

    lock = package("itsdangerous", 'b = "*"\nwin = {version = "*", markers = "os_name == \'nt\'"}')
    lock += (
        package("b", 'itsdangerous = "*"')
        + package("win", 'deep = "*"')
        + package("deep")
        + package("iniconfig")
    )
    lines = locked("poetry.lock", **{"poetry.lock": lock}).text.split("\n")
    assert [line.partition(" --hash")[0] for line in lines if line] == [
        "itsdangerous==1.0",
        "b==1.0",
        "win==1.0 ; ((os_name == 'nt'))",
        "deep==1.0 ; ((os_name == 'nt'))",
    ]


def test_a_lock_that_lacks_a_dependency_is_refused_and_one_of_another_file_is_told() -> None:
    more = made.PIPFILE.replace("[packages]", '[packages]\nflask = "*"')
    with pytest.raises(BuildRefused, match=r"Pipfile.lock does not fit Pipfile \(missing: flask\)") as caught:
        locked("Pipfile.lock", Pipfile=more)
    assert caught.value.hint == "Run pipenv lock and commit the result."
    other = made.PIPFILE.replace('itsdangerous = "*"', 'itsdangerous = "<3"')
    assert locked("Pipfile.lock", Pipfile=other).warnings == (
        "Pipfile.lock was not made from this Pipfile: run pipenv lock",
    )
    stale = made.POETRY + 'content-hash = "00"\n'
    assert "poetry.lock was not made from this" in locked("poetry.lock", **{"poetry.lock": stale}).warnings[0]


def test_the_digest_that_poetry_wrote_is_that_of_its_file() -> None:
    project = """[tool.poetry.dependencies]
python = "^3.11"
itsdangerous = "^2.0"
gunicorn = "*"
click = {version = "^8", markers = "sys_platform == 'linux'"}
[tool.poetry.group.dev.dependencies]
iniconfig = "*"
[[tool.poetry.source]]
name = "index"
url = "https://pypi.org/simple"
priority = "primary"
"""
    digest = "d3fcfe07720c8a6c990b3e0b2761efc09baf341445cd02f45a946a28f1e211fd"
    gunicorn = (
        made.POETRY.split("[[package]]")[1].replace("itsdangerous", "gunicorn").replace("[metadata]", "")
    )
    lock = f'[[package]]{gunicorn}\n{made.POETRY}content-hash = "{digest}"\n'
    files = {"poetry.lock": lock, "pyproject.toml": project}
    assert read_lock(DictTree(files), "poetry.lock").warnings == ()


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("poetry.lock", "[metadata]", '[package.source]\ntype = "git"\n[metadata]', ""),
        ("poetry.lock", made.WHEEL, "md5:1", ""),
        ("poetry.lock", 'name = "itsdangerous"', 'name = "-e /etc"', "no version or no digests"),
        ("poetry.lock", 'version = "2.2.0"', 'version = "2 --pre"', "no version or no digests"),
        ("poetry.lock", 'sys_platform == ', 'a\\n-r /etc/passwd', "cannot be read"),
        ("Pipfile.lock", '"version": "==2.2.0"', '"git": "https://example.com/x"', "does not come from a package index"),
        ("pdm.lock", "inherit_metadata", "cross_platform", "which groups"),
        ("pdm.lock", "[metadata]", "[metadata", "pdm.lock: "),
    ],
)  # fmt: skip
def test_what_has_no_digest_or_would_be_an_option_is_refused_by_name(
    path: str, old: str, new: str, said: str
) -> None:
    changed = {path: LOCKS[path][path].replace(old, new)}
    assert changed[path] != LOCKS[path][path]
    if not said:  # a development package from git and a digest of another kind beside a good one are nothing
        assert "itsdangerous" in locked(path, **changed).text
        return
    with pytest.raises(BuildRefused, match=said):
        locked(path, **changed)


def test_the_python_that_a_lock_asks_for_is_checked_before_anything_runs() -> None:
    for path, name, old, new in (
        ("poetry.lock", "pyproject.toml", '"^3.11"', '"^3.12"'),
        ("Pipfile.lock", "Pipfile", "[packages]", '[requires]\npython_version = "3.12"\n[packages]'),
        ("pdm.lock", "pyproject.toml", ">=3.11", ">=3.12"),
    ):
        with pytest.raises(BuildRefused, match=r"Python .*; there are 3\.11 \(stack debian-12\)"):
            plan(DictTree({**LOCKS[path], name: LOCKS[path][name].replace(old, new)}))


def test_other_indexes_are_named_and_bring_the_config_vars_in() -> None:
    lock = json.loads(made.PIPFILE_LOCK)
    lock["_meta"]["sources"].append({"url": "https://${TOKEN}@example.com/simple"})
    result = locked("Pipfile.lock", **{"Pipfile.lock": json.dumps(lock)})
    assert result.text.startswith("--extra-index-url https://${TOKEN}@example.com/simple\n")
    assert result.variables


def test_a_lock_that_pdm_wrote_is_read_whole() -> None:
    result = locked("pdm.lock")
    lines = [line.partition(" --hash")[0] for line in result.text.splitlines()]
    assert lines == [
        "click==8.5.1",
        'colorama==0.4.6 ; sys_platform == "win32"',
        "itsdangerous==2.2.0",
        "python-dotenv==1.2.4",
    ]
    assert result.warnings == ()
