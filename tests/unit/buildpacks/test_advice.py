"""What is said about files that no buildpack takes or reads. Advice is tested by following it."""

from __future__ import annotations

import re

import pytest
from harness.sources import DictTree

from buildpacks.advice import not_read, nothing_to_run
from buildpacks.detect import choose
from buildpacks.plan import BuildRefused
from paas.manifest.procfile import parse_procfile


def refusal(files: dict[str, str]) -> BuildRefused:
    with pytest.raises(BuildRefused) as caught:
        choose(DictTree(files))
    return caught.value


def test_a_language_without_a_buildpack_is_named() -> None:
    assert "Rust is not built here" in refusal({"Cargo.toml": "", "src/main.rs": ""}).hint
    assert ".NET is not built here" in refusal({"Shop.csproj": "", "Program.cs": ""}).hint


def test_a_site_of_hugo_is_told_what_to_commit_and_that_works() -> None:
    files = {"hugo.toml": "", "content/a.md": ""}
    assert "commit the folder public/" in refusal(files).hint
    made = choose(DictTree({**files, "public/index.html": "x"}))
    assert made.default_processes == {"web": ".paas/serve =404 public"}


@pytest.mark.parametrize("files", [{"main.rs": ""}, {"Cargo.toml": ""}])
def test_the_procfile_that_is_advised_makes_a_build(files: dict[str, str]) -> None:
    hint = refusal(files).hint
    (line,) = re.findall(r'"(web: [^"]*)"', hint)
    assert (
        choose(DictTree({**files, "Procfile": line}), parse_procfile(line.encode())).language
        == "Procfile-only"
    )
    assert "must" in hint and "0.0.0.0:$PORT" in hint


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"app.psgi": ""},
            'libplack-perl into a file named Aptfile, and "web: plackup --port $PORT app.psgi"',
        ),
        ({"plumber.R": ""}, 'r-base-core into a file named Aptfile, and "web: Rscript plumber.R"'),
        ({"cgi-bin/a.pl": ""}, '"web: lighttpd -D -f lighttpd.conf"'),
        ({"Makefile": "", "a.c": ""}, "Makefile is run when a Procfile names a program that it builds"),
    ],
)
def test_what_debian_can_run_is_told_with_its_package_and_command(files: dict[str, str], said: str) -> None:
    assert said in refusal(files).hint


def test_of_several_apps_in_folders_one_is_chosen_with_a_command() -> None:
    files = {"services/api/go.mod": "", "web/package.json": "{}", "web/Dockerfile": "", "docs/index.html": ""}
    refused = refusal({**files, ".github/package.json": "", "node_modules/x/package.json": ""})
    assert refused.message == (
        "No buildpack matched at the root: saw .github/, docs/, node_modules/, services/, web/."
    )
    assert refused.hint == (
        "Each folder can be an app of its own: web/ (package.json), services/api/ (go.mod), docs/ (index.html)."
        " For this app choose one, like paas builds:set root=web, and push again."
    )
    many = refusal({f"app{number}/go.mod": "" for number in range(3000)})
    assert many.hint.count("(go.mod)") == 5 and " and 995 more." in many.hint


def test_the_empty_requirements_that_are_advised_make_a_build() -> None:
    assert "requirements.txt; an empty one will do if bot.py needs" in refusal({"bot.py": ""}).hint
    assert choose(DictTree({"bot.py": "", "requirements.txt": ""})).language == "Python"


@pytest.mark.parametrize(
    ("language", "files"),
    [
        ("Python", {}),
        ("Node", {"index.js": ""}),
        ("Node", {}),
        ("Static", {}),
        ("Python", {"Procfile.dev": ""}),
    ],
)
def test_what_to_run_is_advised_as_lines_that_a_procfile_may_have(
    language: str, files: dict[str, str]
) -> None:
    hint = nothing_to_run(DictTree(files), language)
    lines = re.findall(r'"(web: [^"]*)"', hint)
    assert lines or "Procfile.dev" in hint
    for line in lines:
        assert parse_procfile(line.encode())["web"]
    assert ("index.js" in hint) == ("index.js" in files)
    assert ("uvicorn MODULE:APP --host 0.0.0.0 --port $PORT" in hint) == (language == "Python" and not files)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"Dockerfile": "FROM x"}, ["Dockerfile is not read: this is built as a Python app (paas builds:set builder=dockerfile builds it)"]),
        ({"Staticfile": ""}, ["Staticfile is not read: this is built as a Python app"]),
        ({"Procfile.dev": "web: x"}, ["Procfile.dev is not read: the platform reads Procfile"]),
        ({"Procfile.dev": "web: x", "Procfile": "web: x"}, []),
        ({"vercel.json": "{}"}, ["vercel.json is for Vercel and is not read"]),
        (
            {"render.yaml": "services:\n  - type: web\n    startCommand: gunicorn app:app\n"},
            ['render.yaml is for Render and is not read; its start command as a Procfile: "web: gunicorn app:app"'],
        ),
        ({"render.yaml": "a: [", "Procfile": "web: x"}, ["render.yaml is for Render and is not read"]),
        (
            {"fly.toml": "[processes]\napp = 'bin/web'\nworker = 'bin/work'\n"},
            [
                'fly.toml is for Fly.io and is not read; its processes as lines of a Procfile: "web: bin/web",'
                ' "worker: bin/work"'
            ],
        ),
        ({"fly.toml": "[processes"}, ["fly.toml is for Fly.io and is not read"]),
        ({"fly.toml": "[http_service]\nport=1"}, ["fly.toml is for Fly.io and is not read"]),
    ],
)  # fmt: skip
def test_files_that_decide_nothing_are_named(files: dict[str, str], said: list[str]) -> None:
    assert list(not_read(DictTree({"requirements.txt": "", **files}), "Python")) == said


@pytest.mark.parametrize("name", ["procfile", "PROCFILE", "Procfile.txt"])
def test_a_procfile_by_another_name_is_told_unless_there_is_one(name: str) -> None:
    told = not_read(DictTree({name: "web: x\n", "app.py": ""}), "Python")
    assert told == (f"{name} is not read: rename it, git mv {name} Procfile",)
    assert not_read(DictTree({name: "web: x\n", "Procfile": "web: y\n"}), "Python") == ()


def test_a_program_that_python_cannot_parse_is_told_with_its_line() -> None:
    hint = nothing_to_run(DictTree({"app.py": "import flask\napp = flask.Flask('x'\ndef f(:\n"}), "Python")
    assert hint.startswith("Python cannot read line 3 of app.py: invalid syntax.")
    assert '"web: python app.py"' in hint
    assert "cannot read" not in nothing_to_run(DictTree({"app.py": "x = 1\n"}), "Python")
    assert "cannot read" not in nothing_to_run(DictTree({"app.py": "\0"}), "Python")
