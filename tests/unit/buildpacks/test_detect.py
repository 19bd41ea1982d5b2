from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks.detect import choose
from buildpacks.plan import BuildRefused

PACKAGE = '{"scripts": {"start": "node a.js"}}'


@pytest.mark.parametrize(
    ("files", "language"),
    [
        ({"requirements.txt": ""}, "Python"),
        ({"pyproject.toml": "[project]\nname='x'\nversion='1'\n"}, "Python"),
        ({"package.json": PACKAGE}, "Node"),
        ({"index.html": ""}, "Static"),
        ({"public/index.html": ""}, "Static"),
        ({"Staticfile": "root: site", "site/a.html": ""}, "Static"),
        ({"Procfile": "web: ./serve"}, "Procfile-only"),
        ({"requirements.txt": "", "index.html": "", "Procfile": "web: x"}, "Python"),
        ({"package.json": PACKAGE, "index.html": ""}, "Node"),
        ({"Dockerfile": "FROM debian-12\n", "index.html": ""}, "Dockerfile"),
        ({"Dockerfile": "FROM debian-12\n", "index.html": "", "Staticfile": ""}, "Static"),
        ({"Dockerfile": "FROM debian-12\n", "package.json": PACKAGE, "index.html": ""}, "Node"),
        ({"package.json": PACKAGE, "runtime.txt": "python-3.11"}, "Node"),
    ],
)
def test_the_files_decide_the_language(files: dict[str, str], language: str) -> None:
    assert choose(DictTree(files)).language == language


@pytest.mark.parametrize(
    ("processes", "extra", "language"),
    [
        ({"web": "npm start"}, {}, "Node"),
        ({"web": "gunicorn app:app"}, {}, "Python"),
        ({}, {}, "Node"),
        ({}, {"manage.py": ""}, "Python"),
    ],
)
def test_python_and_node_together_are_decided_and_the_reason_is_told(
    processes: dict[str, str], extra: dict[str, str], language: str
) -> None:
    plan = choose(DictTree({"requirements.txt": "", "package.json": PACKAGE, **extra}), processes)
    assert plan.language == language
    assert language.lower() in plan.notes[0]


def test_app_json_names_the_buildpack() -> None:
    tree = DictTree({"requirements.txt": "", "package.json": PACKAGE})
    assert choose(tree, {}, ["heroku/nodejs"]).language == "Node"
    assert choose(tree, {}, ["python"]).language == "Python"
    for name in (
        "https://github.com/heroku/heroku-buildpack-python",
        "https://github.com/heroku/heroku-buildpack-python.git#v200",
        "https://buildpack-registry.s3.amazonaws.com/buildpacks/heroku/python.tgz",
        "urn:buildpack:heroku/python",
        "heroku-buildpack-python",
        "git@github.com:heroku/heroku-buildpack-python.git",
    ):
        assert choose(tree, {}, [name]).language == "Python"
    with pytest.raises(
        BuildRefused,
        match="there are go, python, php, ruby, java, bun, deno, node, static, dockerfile, procfile",
    ):
        choose(tree, {}, ["heroku/cobol"])
    assert choose(tree, {}, ["https://github.com/mallory/heroku-buildpack-python"]).language == "Buildpack"
    with pytest.raises(BuildRefused, match="2 buildpacks"):
        choose(tree, {}, ["python", "node"])


def test_no_match_names_what_was_seen_and_what_was_looked_for() -> None:
    with pytest.raises(BuildRefused) as caught:
        choose(DictTree({"README.md": "", "src/a.rs": ""}))
    assert "saw README.md, src/" in caught.value.message
    assert "requirements.txt" in caught.value.message
    assert "package.json" in caught.value.message


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("requirement.txt", "Is requirement.txt meant to be requirements.txt?"),
        ("Requirements.txt", "Is Requirements.txt meant to be requirements.txt?"),
        ("procfile", "Is procfile meant to be Procfile?"),
        (
            "backend/requirements.txt",
            "backend/ has requirements.txt: paas builds:set root=backend; then push again.",
        ),
        ("docs/index.html", 'root=docs, or write "root: docs" into a Staticfile; then push again.'),
        ("my app/go.mod", "paas builds:set root='my app'; then"),
        ("tests/requirements.txt", "Add one of these files"),
        ("notes.txt", "Add one of these files"),
    ],
)
def test_near_miss_is_recognised(name: str, hint: str) -> None:
    with pytest.raises(BuildRefused) as caught:
        choose(DictTree({name: ""}))
    assert hint in caught.value.hint


def test_commit_without_files_is_refused() -> None:
    with pytest.raises(BuildRefused, match="no files"):
        choose(DictTree({}))


def test_names_of_files_are_shown_printable() -> None:
    with pytest.raises(BuildRefused) as caught:
        choose(DictTree({"a\x1b[31m\nb": "", "\udcff": ""}))
    assert caught.value.message.isprintable()
