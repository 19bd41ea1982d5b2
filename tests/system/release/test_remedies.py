"""What a failed push advises is done to the letter, and the next push goes live."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.platform import Platform, commit

Remedy = Callable[[Platform, Path], None]
_APP = "def app(environ, start):\n    start('200 OK', [])\n    return [b'mended']\n"
_SERVER = (
    "const n = require('is-number');\nrequire('http').createServer((q, s) => s.end(n(1) ? 'mended' : ''))"
)
_PACKAGE = {"name": "x", "version": "1.0.0", "scripts": {"start": "node s.js"}}


def python(code: str, **files: str) -> dict[str, str]:
    return {"requirements.txt": "gunicorn\n", "Procfile": "web: gunicorn app:app\n", "app.py": code, **files}


def _write(path: str, text: str) -> Remedy:
    return lambda platform, repository: (commit(repository, "Mended", **{path: text}), None)[1]


def _set_var(platform: Platform, repository: Path) -> None:
    platform.paas("config:set", "GREETING=mended", "-a", "remedy")
    commit(repository, "Again", note="x")


def _move_to_dependencies(platform: Platform, repository: Path) -> None:
    package = {**_PACKAGE, "dependencies": {"is-number": "7.0.0"}}
    commit(repository, "Mended", **{"package.json": json.dumps(package)})


CASES: dict[str, tuple[dict[str, str], str, Remedy]] = {
    "a package that is not listed": (
        python("import markupsafe\n" + _APP),
        "Line 1 of app.py imports markupsafe, which is not installed. Add it to the dependencies (requirements.txt,",
        _write("requirements.txt", "gunicorn\nmarkupsafe\n"),
    ),
    "a wrong object": (
        python(_APP.replace("def app", "def application")),
        "The module app has no object app. Name MODULE:OBJECT as they are in the code in the Procfile's web line",
        _write("Procfile", "web: gunicorn app:application\n"),
    ),
    "a wrong module": (
        python(_APP, Procfile="web: gunicorn shop.wsgi:app\n"),
        "The command names the module shop, which is not there. Name MODULE:OBJECT",
        _write("Procfile", "web: gunicorn app:app\n"),
    ),
    "a config var that is not set": (
        python("import os\nTEXT = os.environ['GREETING']\n" + _APP),
        "The config var GREETING is not set. paas config:set GREETING=VALUE",
        _set_var,
    ),
    "a package for development": (
        {
            "package.json": json.dumps({**_PACKAGE, "devDependencies": {"is-number": "7.0.0"}}),
            "s.js": _SERVER + ".listen(process.env.PORT, '0.0.0.0');\n",
        },
        "The file s.js wants is-number, which is not installed. Add it to dependencies in package.json (not devDependencies",
        _move_to_dependencies,
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_what_a_failed_push_advises_makes_the_next_one_live(platform: Platform, case: str) -> None:
    files, advice, remedy = CASES[case]
    repository = platform.repository(files)
    try:
        refused = platform.push(repository, "remedy")
        assert refused.returncode == 1
        told = " ".join(refused.stdout.replace("remote:  !     ", " ").split())
        assert advice in told, refused.stdout
        remedy(platform, repository)
        mended = platform.push(repository, "remedy")
        assert mended.returncode == 0, mended.stdout
        assert platform.get("remedy").text == "mended"
    finally:
        platform.paas("destroy", "remedy", "--confirm", "remedy")
