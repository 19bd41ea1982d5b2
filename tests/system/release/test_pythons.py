"""Apps that ask for another Python than their stack's: one that is fetched, and one that another stack has."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from harness.platform import Platform, commit

PYENV = Path.home() / ".pyenv" / "versions"
LEFT_OUT = {"test", "tests", "__pycache__", "idlelib", "site-packages"}
APP = """import http.server, os, ssl, sys
import markupsafe._speedups

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.version.split()[0].encode())

http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
FILES = {"requirements.txt": "markupsafe==3.0.3\n", "main.py": APP, ".python-version": "3.12\n"}


@pytest.fixture
def mirror(lonely: Platform) -> Iterator[Platform]:
    """A platform whose operator offers one Python: a 3.12 of this machine, packed as uv expects it."""
    home = next(iter(sorted(PYENV.glob("3.12.*"))), None)
    if home is None:
        pytest.skip(f"{PYENV} has no Python 3.12 that could be offered")
    folder = lonely.folder / "pythons"
    folder.mkdir()
    archive, program = folder / "python.tar.gz", f"bin/python{home.name.rpartition('.')[0]}"
    movable = folder / "python"  # those that uv offers find their library beside themselves
    library = os.fsencode(home / "lib") + b"\0"
    movable.write_bytes(
        (home / program).read_bytes().replace(library, b"$ORIGIN/../lib".ljust(len(library), b"\0"))
    )
    movable.chmod(0o755)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(home, "python", filter=lambda member: _without_tests(member, f"python/{program}"))
        tar.add(movable, f"python/{program}")
    major, minor, patch = home.name.split(".")
    key = f"cpython-{home.name}-linux-{os.uname().machine}-gnu"
    entry = {
        "name": "cpython", "arch": {"family": os.uname().machine, "variant": None}, "os": "linux", "libc": "gnu",
        "major": int(major), "minor": int(minor), "patch": int(patch), "prerelease": "", "url": f"file://{archive}",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(), "variant": None, "build": "1",
    }  # fmt: skip
    (folder / "list.json").write_text(json.dumps({key: entry}))
    for path in (lonely.folder, folder):
        path.chmod(0o755)
    serve = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), serve
    ) as server:  # the server reads it; builds do not reach its loopback
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/list.json"
        lonely.settings["builds_python_downloads_json_url"] = address
        lonely.start()
        lonely.make_key()
        yield lonely
        server.shutdown()


def _without_tests(member: tarfile.TarInfo, program: str) -> tarfile.TarInfo | None:
    return None if member.name == program or LEFT_OUT & set(member.name.split("/")) else member


@pytest.mark.long
def test_a_python_that_no_stack_has_is_fetched_once_for_all_apps(mirror: Platform) -> None:
    repository = mirror.repository(FILES)
    done = mirror.push(repository, "first")
    assert done.returncode == 0, done.stdout
    assert "(from .python-version), fetched by uv" in done.stdout
    assert "-----> Fetching Python 3.12." in done.stdout
    assert mirror.get("first").text.startswith("3.12.")
    assert mirror.paas(
        "run", "-a", "first", "--", "python", "-c", "import sqlite3, sys; print(sys.prefix)"
    ).stdout == ("/app/.venv\n")
    second = mirror.push(mirror.repository(FILES), "second")
    assert second.returncode == 0, second.stdout
    assert "Fetching" not in second.stdout
    assert "Restoring cache: Python 3.12." in second.stdout
    commit(repository, "Ask for an old one", **{".python-version": "3.6\n"})
    refused = mirror.push(repository, "first")
    assert refused.returncode == 1
    assert "3.12 (fetched by uv)" in _joined(refused.stdout)
    assert "Installing" not in refused.stdout
    assert mirror.get("first").text.startswith("3.12.")


def _joined(pushed: str) -> str:
    """The lines of a push without the breaks that its width makes."""
    return " ".join(pushed.replace("remote:  !     ", "").split())


@pytest.mark.long
def test_a_python_of_another_stack_brings_the_app_there_and_back(lonely: Platform) -> None:
    lonely.settings["builds_python_downloads_json_url"] = "file:///nonexistent/list.json"
    lonely.start()
    lonely.make_key()
    repository = lonely.repository({**FILES, ".python-version": "3.13\n"})
    done = lonely.push(repository, "mover", timeout=400)
    assert done.returncode == 0, done.stdout
    assert "on stack debian-13" in done.stdout
    assert "Using Python 3.13 (from .python-version), which stack debian-13 has" in done.stdout
    assert lonely.get("mover").text.startswith("3.13.")
    assert lonely.json("releases:info", "-a", "mover")["stack"] == "debian-13"
    commit(repository, "Stay", **{".python-version": "3.11\n", "app.json": '{"stack": "debian-13"}'})
    refused = lonely.push(repository, "mover")
    assert refused.returncode == 1
    assert 'Take "stack" out of app.json' in _joined(refused.stdout)
    commit(repository, "Go back", **{"app.json": "{}"})
    back = lonely.push(repository, "mover")
    assert back.returncode == 0, back.stdout
    assert "on stack debian-12" in back.stdout
    assert lonely.get("mover").text.startswith("3.11.")
    assert lonely.paas("rollback", "v1", "-a", "mover").returncode == 0
    assert lonely.get("mover").text.startswith("3.13.")


def test_a_stack_that_cannot_be_made_leaves_the_choice_to_what_else_there_is(
    lonely: Platform,
) -> None:
    ours = lonely.folder / "stacks"
    ours.mkdir(mode=0o755)
    for name in ("debian-12.json", "layers", "blobs"):
        (ours / name).symlink_to(lonely.stacks / name)
    lonely.stacks = ours
    (ours / ".lock").mkdir()  # no stack can be made there
    lonely.settings["builds_python_downloads_json_url"] = "file:///nonexistent/list.json"
    lonely.start()
    lonely.make_key()
    refused = lonely.push(lonely.repository({**FILES, ".python-version": "3.13\n"}), "mover")
    assert refused.returncode == 1
    told = _joined(refused.stdout)
    for stack in ("debian-13", "debian-14"):
        assert f"stack {stack} cannot be had: another Python is looked for" in told
    assert "asks for Python 3.13; there are 3.11 (stack debian-12); none that uv could fetch" in told
    assert "Write 3.11 into .python-version" in told
