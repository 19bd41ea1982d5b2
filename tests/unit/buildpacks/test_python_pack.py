from __future__ import annotations

import pytest
from harness import pylocks
from harness.sources import DictTree

from buildpacks.advice import nothing_to_run
from buildpacks.detect import choose
from buildpacks.plan import BuildRefused, Plan
from buildpacks.python import detect, plan
from buildpacks.requirements import read_requirements


def planned(files: dict[str, str | bytes]) -> Plan:
    return plan(DictTree(files))


def steps(result: Plan) -> list[str]:
    return [step.name for step in result.steps]


LOCK = """
version = 1
[[package]]
name = "app"
version = "0"
source = { virtual = "." }
[package.metadata]
requires-dist = [{ name = "flask", specifier = ">=3" }, { name = "x", marker = "extra == 'dev'" }]
[[package]]
name = "flask"
version = "3.0.0"
source = { registry = "https://pypi.org/simple" }
"""
PROJECT = '[project]\nname = "app"\nversion = "0"\ndependencies = ["Flask>=3"]\n'


def test_requirements_are_installed_from_that_file_alone() -> None:
    result = planned({"requirements.txt": "flask==3.0\n", "app.py": "app = 1\n"})
    (step,) = result.steps
    assert step.inputs == ("requirements.txt",)
    assert step.outputs == ("/app/.venv",)
    assert not step.source
    assert not step.shared
    assert "uv" in step.tools
    assert result.path == ("/app/.venv/bin",)


def test_code_does_not_change_what_is_installed() -> None:
    one = planned({"requirements.txt": "flask==3.0\n", "app.py": "a"})
    two = planned({"requirements.txt": "flask==3.0\n", "app.py": "b"})
    assert one.steps == two.steps


def test_included_files_are_inputs() -> None:
    result = planned(
        {
            "requirements.txt": "-r base/prod.txt\n-c limits.txt\nx==1 # why\n",
            "base/prod.txt": "-r more.txt\nflask==3\n",
            "base/more.txt": "gunicorn==2\n",
            "limits.txt": "django<5\n",
        }
    )
    assert set(result.steps[0].inputs) == {"requirements.txt", "base/prod.txt", "base/more.txt", "limits.txt"}
    assert steps(result) == ["dependencies"]


def test_layer_is_shared_between_apps_only_when_every_package_is_pinned_by_digest() -> None:
    hashed = "flask==3.0 \\\n  --hash=sha256:aa\nx==1 --hash=sha256:bb\n"
    step = planned({"requirements.txt": hashed}).steps[0]
    assert step.shared
    assert "--require-hashes" in step.script
    assert not planned({"requirements.txt": hashed + "y==1\n"}).steps[0].shared
    assert not planned({"requirements.txt": ""}).steps[0].shared


def test_local_package_needs_the_source() -> None:
    for line in ("-e .", "./lib", "thing @ file:lib", "--editable=./lib", "lib/thing-1.0.whl"):
        step = planned({"requirements.txt": line + "\n"}).steps[0]
        assert step.source, line
        assert not step.shared


def test_unpinned_names_are_told() -> None:
    result = planned({"requirements.txt": "flask\ngunicorn>=20\nx==1\ngit+https://example.com/y#egg=y\n"})
    assert any("flask, gunicorn" in warning for warning in result.warnings)


def test_variables_in_requirements_bring_the_config_vars_in() -> None:
    text = "--extra-index-url https://${TOKEN}@example.com/simple\nx==1\n"
    step = planned({"requirements.txt": text}).steps[0]
    assert step.config
    assert not step.shared


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"requirements.txt": "-r nowhere.txt\n"},
            "requirements.txt line 1: nowhere.txt is not in the repository",
        ),
        ({"requirements.txt": "\n-r ../up.txt\n"}, "line 2: ../up.txt lies outside"),
        ({"requirements.txt": "-r /etc/passwd\n"}, "lies outside"),
        ({"requirements.txt": "flask==1\n<<<<<<< HEAD\n"}, 'line 2: "<<<<<<< HEAD" is not a requirement'),
        ({"requirements.txt": b"\xff\xfef\x00"}, "UTF-16"),
        ({"requirements.txt": b"flask\n\xff\n"}, "line 2 is not UTF-8"),
        ({"requirements.txt": "", ".venv/bin/python": ""}, "contains .venv/"),
        ({"Pipfile": ""}, "Pipfile alone"),
        ({"manage.py": ""}, "no file says what to install"),
        ({"uv.lock": LOCK}, "without pyproject.toml"),
        ({"pyproject.toml": "[project\n"}, "pyproject.toml: "),
        ({"pyproject.toml": "[tool.ruff]\n"}, "no [project] table"),
        ({"pyproject.toml": "[tool.ruff]\n", "Pipfile": ""}, "Run pipenv lock"),
        ({"pyproject.toml": "[tool.poetry]\nname = 'x'\n"}, "Run poetry lock and commit poetry.lock"),
        ({"pyproject.toml": "[tool.pdm]\n"}, "Run pdm lock and commit pdm.lock"),
        ({"pyproject.toml": "[project]\nname='x'\ndependencies='y'\n"}, "not a list"),
        ({"pyproject.toml": PROJECT.replace("Flask", "Django"), "uv.lock": LOCK}, "uv.lock does not fit"),
        ({"pyproject.toml": PROJECT + 'requires-python = ">=3.12"\n'}, 'requires Python ">=3.12"'),
        ({"requirements.txt": "", ".python-version": "3.12\n"}, "asks for Python 3.12"),
        ({"requirements.txt": "", "runtime.txt": "python-3.6.6"}, "asks for Python 3.6.6"),
        ({"requirements.txt": "", ".python-version": "pypy3.10\n"}, '"pypy3.10" is not a Python version'),
        ({"requirements.txt": "", ".python-version": "3.11\n3.12\n"}, "has 2 version lines"),
        ({"requirements.txt": "", ".python-version": "\n"}, "has 0 version lines"),
    ],
)
def test_what_cannot_be_installed_is_refused_clearly(files: dict[str, str | bytes], said: str) -> None:
    with pytest.raises(BuildRefused) as caught:
        planned(files)
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_files_that_include_each_other_are_read_once() -> None:
    found = read_requirements(
        DictTree({"requirements.txt": "-r a.txt\nx==1", "a.txt": "-r requirements.txt\ny==1"})
    )
    assert found.files == ["requirements.txt", "a.txt"]
    assert found.names == {"x", "y"}


@pytest.mark.parametrize(
    "text", ["3.11", "3.11.4", "3", "python-3.11.2", '"3.11"', "# pinned\n3.11\n", "3.11.*"]
)
def test_the_stacks_python_is_accepted_however_it_is_written(text: str) -> None:
    result = planned({"requirements.txt": "", ".python-version": text})
    assert result.notes == ("Using Python 3.11 (from .python-version)",)
    assert bool(result.warnings) == ("3.11.4" in text)


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (("requirements.txt", "poetry.lock"), "requirements.txt"),
        (("requirements.txt", "Pipfile.lock"), "Pipfile.lock"),
        (("pdm.lock", "uv.lock"), "uv.lock"),
    ],
)
def test_of_two_files_that_say_what_to_install_the_one_that_heroku_takes_is_taken(
    there: tuple[str, ...], taken: str
) -> None:
    files: dict[str, str | bytes] = {"requirements.txt": "", "pyproject.toml": PROJECT, "uv.lock": LOCK}
    files |= {"Pipfile": pylocks.PIPFILE, "Pipfile.lock": pylocks.PIPFILE_LOCK}
    kept = {path: text for path, text in files.items() if path in (*there, "pyproject.toml", "Pipfile")}
    result = planned({**kept, **{path: "" for path in there if path not in files}})
    (other,) = set(there) - {taken}
    assert result.detected == taken
    assert f"{taken} says what to install; {other} beside it is not read" in result.warnings


def test_a_package_that_only_setup_cfg_declares_is_installed_and_settings_of_tools_are_no_package() -> None:
    (step,) = planned({"setup.cfg": "[metadata]\nname = shop\n"}).steps
    assert step.source
    assert step.written[0][0] == "setup.py"
    assert detect(DictTree({"setup.cfg": "[flake8]\nmax-line-length = 100\n", "index.html": ""})) is None


def test_dependencies_that_a_build_backend_reads_from_the_source_are_installed_over_it() -> None:
    text = '[project]\nname = "a"\nversion = "1"\ndynamic = ["dependencies"]\n[build-system]\nrequires = ["setuptools"]\n'
    (step,) = planned({"pyproject.toml": text, "deps.txt": "flask"}).steps
    assert step.source
    assert step.script.endswith(" .\n")


def test_pre_compile_lies_below_everything_that_is_installed() -> None:
    result = planned({"requirements.txt": "x==1\n", "bin/pre_compile": "", "bin/post_compile": ""})
    first, dependencies, last = result.steps
    assert (first.name, dependencies.onto) == ("pre_compile", ("pre_compile",))
    assert all(step.source and step.after_source for step in result.steps)
    assert last.onto == ("pre_compile", "dependencies")


def test_python_version_counts_before_runtime_txt() -> None:
    files = {"requirements.txt": "", ".python-version": "3.11", "runtime.txt": "python-2.7"}
    assert "from .python-version" in planned(files).notes[0]


def test_lock_is_installed_with_its_digests() -> None:
    result = planned({"pyproject.toml": PROJECT, "uv.lock": LOCK})
    (step,) = result.steps
    assert step.inputs == ("pyproject.toml", "uv.lock")
    assert "--require-hashes" in step.script
    assert step.shared
    assert result.detected == "uv.lock"


def test_project_with_a_build_system_is_installed_over_its_source() -> None:
    built = PROJECT + '[build-system]\nrequires = ["hatchling"]\n'
    result = planned({"pyproject.toml": built})
    assert steps(result) == ["dependencies", "project"]
    assert result.steps[1].after_source
    assert result.steps[1].onto == ("dependencies",)
    assert steps(planned({"pyproject.toml": built + "[tool.uv]\npackage = false\n"})) == ["dependencies"]


def test_django_collects_its_static_files_over_the_source_with_the_config() -> None:
    result = planned({"requirements.txt": "Django==5.0\n", "manage.py": ""})
    step = result.steps[-1]
    assert step.name == "collectstatic"
    assert step.after_source and step.config and step.source
    assert step.outputs == ("/app",)
    assert steps(planned({"requirements.txt": "flask==3\n", "manage.py": ""})) == ["dependencies"]


@pytest.mark.parametrize(
    ("files", "web"),
    [
        ({"requirements.txt": "gunicorn==1", "app.py": "from flask import Flask\napp = Flask(__name__)\n"}, "gunicorn app:app"),
        ({"requirements.txt": "gunicorn==1", "wsgi.py": "application: X = make()\n"}, "gunicorn wsgi:application"),
        ({"requirements.txt": "gunicorn==1\nflask==3", "main.py": "def create_app():\n  pass\n"}, "gunicorn 'main:create_app()'"),
        ({"requirements.txt": "uvicorn==1", "main.py": "from fastapi import FastAPI\napp = FastAPI()\n"},
         "uvicorn main:app --host 0.0.0.0 --port $PORT"),
        ({"requirements.txt": "gunicorn==1\ndjango==5",
          "manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')"}, "gunicorn shop.wsgi"),
        ({"requirements.txt": "gunicorn==1", "app.py": "print(1)\n"}, None),
        ({"requirements.txt": "gunicorn==1", "app.py": b"\xff\xfe"}, None),
    ],
)  # fmt: skip
def test_web_command_is_found_in_the_code(files: dict[str, str | bytes], web: str | None) -> None:
    assert planned(files).default_processes.get("web") == web


def test_a_server_that_is_missing_is_added_in_a_layer_of_its_own() -> None:
    result = planned(
        {"requirements.txt": "flask==3", "app.py": "import flask\napp = flask.Flask(__name__)\n"}
    )
    assert result.default_processes == {"web": "gunicorn app:app"}
    server = result.steps[-1]
    assert (server.name, server.serves, server.onto) == ("server", "web", ("dependencies",))
    assert server.title == "Adding gunicorn, which the dependencies do not name, to serve app:app"


def test_post_compile_runs_last_over_everything() -> None:
    files = {"requirements.txt": "django==5\n", "manage.py": "", "bin/post_compile": "", "setup.py": ""}
    hook = planned({**files}).steps[-1]
    assert (hook.name, hook.onto) == ("post_compile", ("dependencies", "collectstatic"))
    assert hook.after_source and hook.source and hook.config


def test_setup_py_alone_is_installed_from_its_source() -> None:
    result = planned({"setup.py": ""})
    assert result.detected == "setup.py"
    assert result.steps[0].source and not result.steps[0].shared


def test_a_procfile_needs_no_added_server() -> None:
    files = {"requirements.txt": "flask==3", "app.py": "import flask\napp = flask.Flask(__name__)\n"}
    result = choose(DictTree(files), {"web": "python app.py"})
    assert steps(result) == ["dependencies", "libraries"]


def test_without_a_web_command_the_advice_names_the_program_that_is_there() -> None:
    files = {"requirements.txt": "", "serve.py": "print(1)\n", "test_x.py": ""}
    assert planned({**files}).default_processes == {}
    assert '"web: python serve.py"' in nothing_to_run(DictTree(files), "Python")


def test_an_entry_point_of_nothing_but_newlines_is_read_at_once() -> None:
    """It took an hour, with the interpreter's lock held, when the search could begin at each of them."""
    plan(DictTree({"requirements.txt": "", "app.py": "\n" * (1 << 20)}))


def test_a_program_that_needs_only_python_needs_no_file_that_says_so() -> None:
    program = "import http.server, os, lib\nhttp.server.HTTPServer(('', int(os.environ['PORT'])), None)\n"
    made = choose(DictTree({"serve_it.py": program, "lib.py": "x = 1\n", "README.md": ""}))
    assert (made.language, made.detected) == ("Python", "lib.py")
    assert made.default_processes == {"web": "python serve_it.py"}
    assert made.notes[-1] == "No file says what to install: nothing is needed"
    with pytest.raises(BuildRefused) as caught:
        choose(DictTree({"app.py": "from flask import Flask\nimport PIL.Image, os\napp = Flask(__name__)\n"}))
    assert "requirements.txt that names the packages of what it imports: PIL, flask." in caught.value.hint
    assert choose(DictTree({"serve.py": program, "lib.py": "", "index.html": ""})).language == "Static"


@pytest.mark.parametrize(
    ("files", "installed"),
    [
        ({}, "mkdocs<2\n"),
        ({"mkdocs.yml": "theme:\n  name: material\n"}, "mkdocs-material\n"),
        ({"requirements.txt": "mkdocs==1.6.1\n"}, None),
    ],
)
def test_a_mkdocs_site_is_made_and_served(files: dict[str, str], installed: str | None) -> None:
    made = choose(DictTree({"mkdocs.yml": "site_name: x\n", "docs/index.md": "", **files}))
    assert made.default_processes == {"web": ".paas/serve =404 site"}
    first, pages, server = (step for step in made.steps if step.name != "libraries")
    assert (pages.name, pages.after_source, server.name) == ("mkdocs", True, "static-server")
    assert [text for _, text in first.written] == ([] if installed is None else [installed])


def test_a_notebook_is_served_by_voila_when_that_is_there() -> None:
    made = planned({"requirements.txt": "voila==0.5\n", "demo.ipynb": "{}"})
    assert made.default_processes["web"].endswith("--port=$PORT demo.ipynb")
    assert planned({"requirements.txt": "jupyter==1\n", "demo.ipynb": "{}"}).default_processes == {}


ASGI = {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n"}


@pytest.mark.parametrize(
    ("needs", "web", "warned", "added"),
    [
        ("fastapi==1\ngunicorn==1\nuvicorn==1", "gunicorn main:app", True, ""),
        ("fastapi==1\ngunicorn==1\nuvicorn==1", "gunicorn main:app -k uvicorn.workers.UvicornWorker", False, ""),
        ("fastapi==1", "uvicorn main:app --host 0.0.0.0 --port $PORT", False, "uvicorn"),
        ("fastapi==1", "python main.py", False, ""),
    ],
)  # fmt: skip
def test_a_procfile_that_serves_an_asgi_app_as_wsgi_is_doubted(
    needs: str, web: str, warned: bool, added: str
) -> None:
    files = {**ASGI, "requirements.txt": needs, "Procfile": f"web: {web}\n"}
    made = choose(DictTree(files), {"web": web})
    said = [text for text in made.warnings if text.startswith("Procfile: gunicorn")]
    assert bool(said) == warned
    assert not said or said[0].endswith("write web: uvicorn main:app --host 0.0.0.0 --port $PORT")
    assert [step.brings for step in made.steps if step.name == "server"] == ([added] if added else [])


@pytest.mark.parametrize(
    ("more", "tool"),
    [("", "uv"), ("[tool.poetry]\n", "poetry"), ('[build-system]\nbuild-backend = "pdm.backend"\n', "pdm")],
)
def test_a_project_without_a_lock_is_told_whose_it_is(more: str, tool: str) -> None:
    project = '[project]\nname = "x"\ndependencies = ["flask"]\n' + more
    assert planned({"pyproject.toml": project}).warnings == (
        f"pyproject.toml without {tool}.lock: run {tool} lock to pin the versions",
    )
