from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks.pyweb import WebCommand, procfile_line, web_command

UVICORN = " --host 0.0.0.0 --port $PORT"


def found(files: dict[str, str], *names: str) -> WebCommand | None:
    return web_command(DictTree(files), frozenset(names))


def command(files: dict[str, str], *names: str) -> str | None:
    result = found(files, *names)
    return result.command if result else None


@pytest.mark.parametrize(
    ("code", "web", "added"),
    [
        ("from flask import Flask\napp = Flask(__name__)\n", "gunicorn main:app", "gunicorn"),
        ("import bottle\napp = bottle.default_app()\n", "gunicorn main:app", "gunicorn"),
        ("import falcon\napi = falcon.App()\n", "gunicorn main:api", "gunicorn"),
        ("import falcon.asgi\napp = falcon.asgi.App()\n", "uvicorn main:app" + UVICORN, "uvicorn"),
        ("from fastapi import FastAPI as F\nservice: F = F()\n", "uvicorn main:service" + UVICORN, "uvicorn"),
        (
            "from starlette.applications import Starlette\napp = Starlette()\n",
            "uvicorn main:app" + UVICORN,
            "uvicorn",
        ),
        ("from litestar import Litestar\napp = Litestar([])\n", "uvicorn main:app" + UVICORN, "uvicorn"),
        ("from quart import Quart\napp = Quart(__name__)\n", "hypercorn main:app --bind 0.0.0.0:$PORT", ""),
        ("from fasthtml.common import *\napp, rt = fast_app()\n", "uvicorn main:app" + UVICORN, ""),
        ("from sanic import Sanic\napp = Sanic('x')\n", "sanic main:app --host=0.0.0.0 --port=$PORT", ""),
        (
            "from aiohttp import web\napp = web.Application()\n",
            "gunicorn main:app --worker-class aiohttp.GunicornWebWorker",
            "gunicorn",
        ),
        (
            "from aiohttp import web\nasync def create_app():\n  return web.Application()\n",
            "gunicorn main:create_app --worker-class aiohttp.GunicornWebWorker",
            "gunicorn",
        ),
        ("import dash\nd = dash.Dash()\nserver = d.server\n", "gunicorn main:server", "gunicorn"),
        (
            "import dash\nserver = dash.Dash()\napp = server\n",
            "waitress-serve --listen=0.0.0.0:$PORT main:server.server",
            "waitress",
        ),
        (
            "from aiohttp import web\ndef init():\n  return web.Application()\n",
            "gunicorn 'main:init()' --worker-class aiohttp.GunicornWebWorker",
            "gunicorn",
        ),
        ("import flask\ndef init():\n  pass\n", None, None),
        ("def app(environ, start):\n  pass\n", "gunicorn main:app", "gunicorn"),
        ("async def app(scope, receive, send):\n  pass\n", "uvicorn main:app" + UVICORN, "uvicorn"),
        (
            "def create_app(c=None):\n  import fastapi\n  return fastapi.FastAPI()\n",
            "uvicorn main:create_app" + UVICORN + " --factory",
            "uvicorn",
        ),
        ("if True:\n  from flask import Flask\n  app = Flask('x')\n", "gunicorn main:app", "gunicorn"),
        ("import os\nserve(int(os.environ['PORT']))\n", "python main.py", ""),
        ("def create_app(config):\n  import flask\n  return flask.Flask('x')\n", None, None),
        ("app = make()\n", None, None),
        ("app = (\n", None, None),
    ],
)
def test_each_framework_is_served_by_what_can_serve_it(code: str, web: str | None, added: str | None) -> None:
    names = [name for name in ("quart", "sanic") if name in code]
    names += ["python-fasthtml"] if "fasthtml" in code else []
    result = found({"main.py": code}, *names)
    assert (result.command if result else None, result.server if result else None) == (web, added)


def test_a_server_among_the_dependencies_is_taken() -> None:
    asgi, wsgi = "import fastapi\napp = fastapi.FastAPI()\n", "import flask\napp = flask.Flask('x')\n"
    factory = "def create_app():\n  import flask\n  return flask.Flask('x')\n"
    assert command({"app.py": asgi}, "gunicorn", "hypercorn") == "hypercorn app:app --bind 0.0.0.0:$PORT"
    assert command({"app.py": asgi}, "daphne") == "daphne -b 0.0.0.0 -p $PORT app:app"
    assert command({"app.py": wsgi}, "waitress") == "waitress-serve --listen=0.0.0.0:$PORT app:app"
    assert (
        command({"app.py": factory}, "waitress")
        == "waitress-serve --listen=0.0.0.0:$PORT --call app:create_app"
    )


def test_apps_are_found_in_folders_packages_and_src() -> None:
    asgi = "import fastapi\napp = fastapi.FastAPI()\n"
    factory = "import flask\ndef create_app():\n  return flask.Flask('x')\n"
    assert command({"app/main.py": asgi}) == "uvicorn app.main:app" + UVICORN
    assert command({"shop/__init__.py": factory}) == "gunicorn 'shop:create_app()'"
    assert command({"shop/__init__.py": "", "shop/web.py": asgi}) == "uvicorn shop.web:app" + UVICORN
    found_in_src = found({"src/shop/__init__.py": "", "src/shop/main.py": asgi})
    assert found_in_src and (found_in_src.target, found_in_src.path) == ("shop.main:app", "/app/src")
    flat = found({"src/main.py": asgi})
    assert flat and (flat.target, flat.path) == ("main:app", "/app/src")
    assert command({"tests/__init__.py": "", "tests/app.py": asgi}) is None


def test_an_app_that_another_file_makes_has_that_files_kind() -> None:
    package = {"shop/__init__.py": "import quart\ndef create_app():\n  return quart.Quart('x')\n"}
    assert command({"run.py": "from shop import create_app\napp = create_app()\n", **package}) == (
        "uvicorn run:app" + UVICORN
    )
    assert command(
        {"wsgi.py": "from web import app\n", "web.py": "import flask\napp = flask.Flask('x')\n"}
    ) == ("gunicorn wsgi:app")


def test_djangos_settings_name_the_application() -> None:
    manage = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings.local')"
    files = {"manage.py": manage, "config/settings/base.py": "WSGI_APPLICATION = 'config.web.application'\n"}
    assert command({**files, "config/web.py": ""}, "django") == "gunicorn config.web:application"
    assert command(files, "django") == "gunicorn config.wsgi"
    only_asgi = {"manage.py": manage, "config/asgi.py": ""}
    assert command(only_asgi, "django") == "uvicorn config.asgi:application" + UVICORN


@pytest.mark.parametrize(
    "code",
    ["(" * 100_000, "-" * 100_000 + "1", "a" + "+a" * 100_000, "a" + ".b" * 100_000, "\n".join(["app = x()"] * 20_000),
     "\n".join(f"app = m{n}.x()" for n in range(15_000)), "if x:\n pass\n" + "elif x:\n pass\n" * 15_000,
     "if x:\n pass\n" + "elif x:\n pass\n" * 900],
)  # fmt: skip
def test_hostile_code_is_read_or_left_within_bounds(code: str) -> None:
    assert (
        command({"app.py": code, "main.py": "import flask\napp = flask.Flask('x')\n"}) == "gunicorn main:app"
    )


@pytest.mark.parametrize(
    ("code", "web"),
    [
        (
            "import streamlit as st\nst.title('x')\n",
            "streamlit run app.py --server.address 0.0.0.0 --server.port $PORT",
        ),
        (
            "import gradio as gr\ngr.Interface().launch()\n",
            "env GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=$PORT python app.py",
        ),
        ("import panel as pn\npn.Row().servable()\n", "panel serve app.py --address 0.0.0.0 --port $PORT"),
        (
            "from robyn import Robyn\nRobyn(__file__).start(port=8080)\n",
            "env ROBYN_HOST=0.0.0.0 ROBYN_PORT=$PORT python app.py",
        ),
    ],
)
def test_a_program_that_serves_itself_is_started_as_its_framework_says(code: str, web: str) -> None:
    result = found({"app.py": code})
    assert result is not None and result.command.startswith(web) and result.server == ""


def test_gradio_in_an_app_of_fastapi_is_served_as_that_app() -> None:
    code = "import fastapi, gradio\napp = fastapi.FastAPI()\napp = gradio.mount_gradio_app(app, gradio.Blocks(), path='/')\n"
    assert command({"app.py": code}, "gradio", "fastapi") == "uvicorn app:app" + UVICORN


def test_a_program_of_any_name_counts_when_it_is_the_only_one() -> None:
    flask, shown = "import flask\napp = flask.Flask('x')\n", "import streamlit\n"
    assert command({"hello.py": flask, "setup.py": "", "test_hello.py": flask}) == "gunicorn hello:app"
    assert command({"hello.py": flask, "other.py": flask}) is None
    assert str(command({"report.py": shown})).startswith("streamlit run report.py")
    assert command({"report.py": shown, "second.py": shown}) is None
    assert procfile_line(DictTree({"report.py": shown, "second.py": shown})).startswith(
        "web: streamlit run report.py --server.address 0.0.0.0"
    )


@pytest.mark.parametrize(
    ("path", "more", "web", "folder"),
    [
        ("backend/app/main.py", {}, "app.main:app", "/app/backend"),
        ("backend/main.py", {}, "main:app", "/app/backend"),
        ("backend/main.py", {"backend/__init__.py": ""}, "backend.main:app", ""),
        ("api/index.py", {}, "index:app", "/app/api"),
        ("app/main.py", {}, "app.main:app", ""),
    ],
)
def test_a_folder_that_is_no_package_is_where_the_program_is_started(
    path: str, more: dict[str, str], web: str, folder: str
) -> None:
    result = found({path: "import fastapi\napp = fastapi.FastAPI()\n", **more})
    assert result is not None and (result.target, result.path) == (web, folder)
