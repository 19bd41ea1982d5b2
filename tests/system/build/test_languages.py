"""What buildpacks make of real projects, run in the runtime and asked over HTTP."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from harness import pylocks
from harness.builder import BuildPlatform
from harness.platform import ROOT
from harness.serving import serving
from harness.sources import files_of

from paas.build.publish import _uv_binary
from paas.nouns.errors import BuildFailed
from paas.nouns.model import App


@pytest.mark.parametrize(("example", "said"), [("hello", b"Hello from web.1"), ("node", b"on Node v22.")])
def test_an_example_answers(platform: BuildPlatform, example: str, said: bytes) -> None:
    app = platform.app(f"ex-{example}")
    with serving(platform, app, platform.build(app, files_of(ROOT / "examples" / example))) as get:
        answer = get("/")
        assert answer.status == 200
        assert said in answer.read()


def test_a_static_site_is_served_with_honest_validators(platform: BuildPlatform) -> None:
    app = platform.app("site")
    files = files_of(ROOT / "examples" / "static")
    files |= {
        "public/.git-credentials": b"secret",
        "public/data.json": b"{}",
        "public/module.mjs": b"export default 1\n",
        "public/font.ttf": b"\0",
        "public/sub/index.html": b"sub",
    }
    image = platform.build(app, files)
    with serving(platform, app, image, commit="aaa111") as get:
        first = get("/")
        assert (first.status, first.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert b"static site" in first.read()
        assert first.headers["ETag"] == 'W/"aaa111"'
        assert "Last-Modified" not in first.headers
        assert get("/style.css", {"If-None-Match": 'W/"aaa111"'}).status == 304
        assert get("/style.css", {"If-None-Match": 'W/"bbb222"'}).status == 200
        assert get("/style.css", {"If-Modified-Since": "Tue, 01 Jan 2030 00:00:00 GMT"}).status == 200
        missing = get("/nowhere")
        assert missing.status == 404
        assert b"no such page" in missing.read()
        assert get("/.git-credentials").status == 404
        assert get("/sub").headers["Location"] == "/sub/"
        assert get("/sub/").read() == b"sub"
        types = {
            path: get(path).headers["Content-Type"] for path in ("/data.json", "/module.mjs", "/font.ttf")
        }
        assert types == {
            "/data.json": "application/json",
            "/module.mjs": "text/javascript; charset=utf-8",
            "/font.ttf": "font/ttf",
        }
    assert "GET /style.css" in _all_logs(platform, app)


def _all_logs(platform: BuildPlatform, app: App) -> str:
    return "\n".join(file.read_text() for file in (platform.layout.logs / app.id).glob("i*.log"))


def test_a_site_at_the_root_hides_its_own_settings_and_may_fall_back(platform: BuildPlatform) -> None:
    app = platform.app("spa")
    files = {"index.html": "home", "Staticfile": "pushstate: true\n", "app.json": "{}", "a b.txt": "spaced"}
    files |= dict.fromkeys(
        ("Dockerfile", "compose.yaml", "config.ini", "db/dump.sql", ".env"), "not for visitors"
    )
    with serving(platform, app, platform.build(app, dict(files))) as get:
        assert get("/deep/link").read() == b"home"
        assert get("/a%20b.txt").read() == b"spaced"
        for hidden in (*files.keys() - {"index.html", "a b.txt"}, ".paas/serve"):
            assert get(f"/{hidden}").status == 404, hidden


def test_a_locked_project_is_installed_as_locked_and_as_a_package(
    platform: BuildPlatform, tmp_path: Path
) -> None:
    (tmp_path / "src" / "shop").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1.0"\nrequires-python = ">=3.11"\ndependencies = ["gunicorn==23.0.0"]\n'
        '[dependency-groups]\ndev = ["iniconfig"]\n'
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    )
    (tmp_path / "src" / "shop" / "__init__.py").write_text(
        'def app(environ, start):\n    start("200 OK", [])\n    return [b"shop is open"]\n'
    )
    (tmp_path / "Procfile").write_text("web: gunicorn shop:app\n")
    subprocess.run([_uv_binary(), "lock", "--quiet"], cwd=tmp_path, check=True)
    app = platform.app("locked")
    image = platform.build(app, files_of(tmp_path))
    assert "-----> Installing the project shop" in platform.lines
    assert not any("iniconfig" in line for line in platform.lines)
    with serving(platform, app, image) as get:
        assert get("/").read() == b"shop is open"
    other = platform.app("locked-too")
    platform.build(other, files_of(tmp_path))
    assert "-----> Restoring cache: dependencies unchanged, layer reused" in platform.lines


SETTINGS = """import os
SECRET_KEY = os.environ["SECRET_KEY"]
INSTALLED_APPS = ["django.contrib.staticfiles"]
STATIC_URL = "/static/"
STATIC_ROOT = "/app/collected"
STATICFILES_DIRS = ["/app/assets"]
"""
MANAGE = (
    "import os, sys\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"
    "from django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n"
)


def test_djangos_static_files_are_collected_with_the_config_vars(platform: BuildPlatform) -> None:
    files: dict[str, str | bytes] = {
        "requirements.txt": "django==5.2\nsqlparse==0.5.3\nasgiref==3.8.1\n",
        "manage.py": MANAGE,
        "shop/__init__.py": "",
        "shop/settings.py": SETTINGS,
        "assets/site.css": "body {}",
        "Procfile": "web: python manage.py runserver 0.0.0.0:$PORT\n",
    }
    app = platform.app("django")
    with pytest.raises(BuildFailed) as caught:
        platform.build(app, files)
    assert "the settings need the config var SECRET_KEY" in caught.value.message
    assert "DISABLE_COLLECTSTATIC" in caught.value.hint
    assert any("SECRET_KEY" in line for line in platform.lines)
    image = platform.build(app, files, config={"SECRET_KEY": "canary-77aa"})
    top = platform.layout.layers / image.layers[-1].removeprefix("sha256:")
    assert (top / "app" / "collected" / "site.css").read_text() == "body {}"
    platform.build(app, files, config={"DISABLE_COLLECTSTATIC": "1"})
    assert any("nothing collected" in line for line in platform.lines)
    bare = SETTINGS.replace("STATIC_ROOT", "NOWHERE").replace('os.environ["SECRET_KEY"]', "'x'")
    platform.build(app, {**files, "shop/settings.py": bare})
    assert any(line.startswith(" !     the settings have no STATIC_ROOT") for line in platform.lines)


STARLETTE = (
    "from starlette.applications import Starlette\nfrom starlette.responses import PlainTextResponse\n"
    "from starlette.routing import Route\nfrom words import said\n"
    "async def home(request):\n    return PlainTextResponse(said)\n"
    "service = Starlette(routes=[Route('/', home)])\n"
)


def test_a_python_app_without_procfile_and_server_is_served(platform: BuildPlatform) -> None:
    app = platform.app("asgi")
    files: dict[str, str | bytes] = {
        "requirements.txt": "starlette==0.46.2\n",
        "src/main.py": STARLETTE,
        "src/words.py": "said = 'from starlette'\n",
    }
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/").read() == b"from starlette"
    assert "       web runs: uvicorn main:service --host 0.0.0.0 --port $PORT" in platform.lines
    assert (
        "-----> Adding uvicorn, which the dependencies do not name, to serve main:service" in platform.lines
    )
    app = platform.app("wsgi")
    code = "def create_app():\n    return lambda environ, start: (start('200 OK', []), [b'made'])[1]\n"
    made = "from shop import create_app\napplication = create_app()\n"
    files = {"requirements.txt": "", "shop/__init__.py": code, "wsgi.py": made}
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/").read() == b"made"


@pytest.mark.long
@pytest.mark.parametrize(
    ("framework", "code", "path", "said"),
    [
        ("robyn==0.73.0", "from robyn import Robyn\napp = Robyn(__file__)\n@app.get('/')\nasync def home(request):\n    return 'Hello'\n"
         "app.start(port=8080)\n", "/", b"Hello"),
        ("dash==3.2.0", "from dash import Dash, html\napp = Dash()\napp.layout = html.Div('Hello')\nif __name__ == '__main__':\n    app.run()\n",
         "/_dash-layout", b"Hello"),
    ],
)  # fmt: skip
def test_an_app_whose_framework_brings_the_server_is_served(
    platform: BuildPlatform, framework: str, code: str, path: str, said: bytes
) -> None:
    app = platform.app(framework.partition("=")[0])
    files: dict[str, str | bytes] = {"requirements.txt": f"{framework}\n", "report.py": code}
    with serving(platform, app, platform.build(app, files)) as get:
        assert said in get(path).read()


def test_the_line_to_write_when_no_web_command_is_found_works(platform: BuildPlatform) -> None:
    app = platform.app("program")
    files: dict[str, str | bytes] = {
        "requirements.txt": "",
        "hello.txt": "hello",
        "serve.py": "import http.server, os, sys\nport = os.environ['POR' + 'T']\n"
        "http.server.test(http.server.SimpleHTTPRequestHandler, port=int(port))\n",
    }
    with pytest.raises(BuildFailed) as caught:
        platform.build(app, files)
    line = caught.value.hint.split('"')[1]
    with serving(platform, app, platform.build(app, {**files, "Procfile": line + "\n"})) as get:
        assert get("/hello.txt").read() == b"hello"


@pytest.mark.parametrize(
    ("lock", "files"),
    [
        ("poetry", {"poetry.lock": pylocks.POETRY, "pyproject.toml": pylocks.POETRY_PROJECT}),
        ("pdm", {"pdm.lock": pylocks.PDM, "pyproject.toml": pylocks.PDM_PROJECT}),
        ("pipenv", {"Pipfile.lock": pylocks.PIPFILE_LOCK, "Pipfile": pylocks.PIPFILE}),
    ],
)
def test_a_lock_of_another_tool_is_installed_with_its_digests(
    platform: BuildPlatform, lock: str, files: dict[str, str | bytes]
) -> None:
    app = platform.app(f"lock-{lock}")
    code = (
        "import importlib.metadata, itsdangerous\ndef app(environ, start):\n    start('200 OK', [])\n"
        "    return [importlib.metadata.version('itsdangerous').encode()]\n"
    )
    with serving(platform, app, platform.build(app, {**files, "app.py": code})) as get:
        assert get("/").read() == b"2.2.0"
    assert not any("iniconfig" in line for line in platform.lines)
    wrong = {
        path: str(text).replace("sha256:c6", "sha256:c7").replace("sha256:e0", "sha256:e1")
        for path, text in files.items()
    }
    with pytest.raises(BuildFailed) as caught:
        platform.build(app, {**wrong, "app.py": code})
    assert "Hash mismatch" in f"{caught.value.message} {caught.value.lines} {platform.lines}"


def test_setup_py_and_a_post_compile_hook_make_an_app(platform: BuildPlatform) -> None:
    app = platform.app("setup")
    files: dict[str, str | bytes] = {
        "setup.py": "from setuptools import setup\nsetup(name='made', py_modules=['made'], install_requires=['itsdangerous'])\n",
        "made.py": "import itsdangerous\nprint(itsdangerous.__name__)\n",
        "bin/post_compile": "python -m made > made.txt\n",
        "Procfile": "web: python -m http.server $PORT\n",
    }
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/made.txt").read() == b"itsdangerous\n"


def test_install_scripts_and_compiling_packages_work(platform: BuildPlatform) -> None:
    package = {
        "name": "native",
        "version": "1.0.0",
        "scripts": {
            "start": "node s.js",
            "postinstall": "node -e \"require('fs').writeFileSync('made.txt', 'x')\"",
        },
        "dependencies": {"local-addon": "file:addon"},
    }
    addon = {
        "name": "local-addon",
        "version": "1.0.0",
        "scripts": {"install": "node-gyp rebuild"},
        "gypfile": True,
    }
    files: dict[str, str | bytes] = {
        "package.json": json.dumps(package),
        "addon/package.json": json.dumps(addon),
        "addon/index.js": 'module.exports = require("./build/Release/addon.node");',
        "addon/binding.gyp": '{"targets": [{"target_name": "addon", "sources": ["addon.c"]}]}',
        "addon/addon.c": (
            "#include <node_api.h>\n"
            "static napi_value init(napi_env env, napi_value exports) {\n"
            "  napi_value n; napi_create_int32(env, 42, &n);\n"
            '  napi_set_named_property(env, exports, "answer", n); return exports; }\n'
            "NAPI_MODULE(NODE_GYP_MODULE_NAME, init)\n"
        ),
        "s.js": (
            'const http = require("http"); const n = require("local-addon").answer;\n'
            'http.createServer((q, s) => s.end(`${n} ${require("fs").readFileSync("made.txt")}`))'
            '.listen(process.env.PORT, "0.0.0.0");\n'
        ),
    }
    app = platform.app("native")
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/").read() == b"42 x"
    assert not any("Unknown env config" in line for line in platform.lines)


def test_what_a_build_script_removes_or_changes_is_gone_or_changed_at_run_time(
    platform: BuildPlatform,
) -> None:
    script = (
        "rm gone.txt && rm -r folder && mkdir folder && echo new > folder/new.txt && echo more >> kept.txt"
    )
    package = {"name": "x", "version": "1.0.0", "scripts": {"build": script}}
    files: dict[str, str | bytes] = {
        "package.json": json.dumps(package),
        "Procfile": "web: python3 -m http.server $PORT\n",
        "gone.txt": "1",
        "kept.txt": "first\n",
        "folder/old.txt": "2",
    }
    app = platform.app("remover")
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/gone.txt").status == 404
        assert get("/folder/old.txt").status == 404
        assert get("/folder/new.txt").read() == b"new\n"
        assert get("/kept.txt").read() == b"first\nmore\n"


@pytest.mark.long
def test_an_exact_release_of_node_is_fetched(platform: BuildPlatform) -> None:
    files = files_of(ROOT / "examples" / "node")
    package = {**json.loads(files["package.json"]), "engines": {"node": "20.11.1"}}
    app = platform.app("exact")
    with serving(platform, app, platform.build(app, {**files, "package.json": json.dumps(package)})) as get:
        assert b"Node v20.11.1" in get("/").read()
    package["engines"]["node"] = "20.99.99"
    with pytest.raises(BuildFailed, match=r"the registry has no Node 20\.99\.99"):
        platform.build(app, {**files, "package.json": json.dumps(package)})
