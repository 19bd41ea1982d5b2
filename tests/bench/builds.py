"""What builds cost: first builds, changes of the code alone, layers that are known, and a machine that has nothing yet.

A first build is always of a lock that no build has seen (a comment in it), so that no layer of it is there; what lies
below (the stack, Node, Go's toolchain) is there, except on the fresh machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.figures import Figure, timed
from harness.builder import build_platform
from harness.platform import ROOT, Platform, commit

from paas.build.kept import kept_layer
from paas.store import layer_keys

ROUNDS = 5
_DOCKERFILE = """FROM debian:12-slim
WORKDIR /srv/app
RUN python3 -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
USER www-data
CMD ["gunicorn", "--bind", "0.0.0.0:5000", "app:app"]
"""


def measure(platform: Platform) -> Iterator[Figure]:
    """The figures of the builds on a platform that runs."""
    yield from _node(platform)
    yield from _flask(platform)
    yield from _dockerfile(platform)
    yield from _go(platform)


def _files(example: str) -> dict[str, str]:
    folder = ROOT / "examples" / example
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def _push(platform: Platform, repository: Path, app: str) -> str:
    done = platform.push(repository, app)
    assert done.returncode == 0, done.stdout
    assert platform.get(app).status == 200
    return done.stdout


def _first(platform: Platform, files: dict[str, str], app: str) -> float:
    """Seconds from the push of a new app until it serves; it stands still afterwards."""
    repository = platform.repository(files, app)
    took = timed(lambda: _push(platform, repository, app))
    platform.paas("scale", "web=0", "-a", app)
    return took


def _changes(platform: Platform, repository: Path, app: str, name: str, texts: list[str]) -> list[float]:
    """Seconds of a push for each text of the file, from the commit until the new version answers."""
    rounds = []
    for text in texts:
        commit(repository, "Change", **{name: text})
        rounds.append(timed(lambda: _push(platform, repository, app)))
    return rounds


def _node(platform: Platform) -> Iterator[Figure]:
    files = _files("node")
    _first(platform, files, "node")  # brings Node itself
    package = json.loads(files["package.json"])
    firsts = []
    for number in range(ROUNDS):
        files["package.json"] = json.dumps({**package, "description": f"round {number}"})
        firsts.append(_first(platform, files, f"express-{number}"))
    yield Figure("first build Express, with its lock", "s", firsts, "3", "2", "Node is there")
    platform.paas("scale", "web=1", "-a", "node")
    repository = platform.repository(files, "code")
    _push(platform, repository, "express-code")
    texts = [f"{files['server.js']}// {number}\n" for number in range(ROUNDS)]
    rounds = _changes(platform, repository, "express-code", "server.js", texts)
    yield Figure("code-only push Express until it answers", "s", rounds, "0.4", "0.25", "with its boot")


def _flask(platform: Platform) -> Iterator[Figure]:
    files = _files("hello")
    lock = _locked(ROOT / "examples/hello/requirements.txt")
    cold, warm, disk = [], [], []
    for number in range(ROUNDS):
        files["requirements.txt"] = f"{lock}# round {number}\n"
        cold.append(_first(platform, files, f"flask-{number}"))
        before = _stored_kib(platform)
        other = {**files, "app.py": f"{files['app.py']}# second {number}\n"}
        warm.append(_first(platform, other, f"second-{number}"))
        disk.append(_stored_kib(platform) - before)
    yield Figure("first build Flask, locked, nothing cached", "s", cold, "4", "2")
    yield Figure("the same lock in another app", "s", warm, "1.5", "1")
    note = "its source as a folder and as a blob, and its image: dependencies 0"
    yield Figure("the same lock in another app, disk", "KiB", disk, "100", "", note)
    repository = platform.repository(files, "code")
    _push(platform, repository, "flask-code")
    texts = [f"{files['app.py']}# {number}\n" for number in range(ROUNDS)]
    rounds, note = _beyond_boot(platform, repository, "flask-code", "app.py", texts)
    yield Figure("code-only push Flask, beyond boot", "s", rounds, "0.4", "0.25", note)


def _dockerfile(platform: Platform) -> Iterator[Figure]:
    files = {**_files("hello"), "Dockerfile": _DOCKERFILE}
    platform.paas("create", "docker-code")
    platform.paas("builds:set", "builder=dockerfile", "-a", "docker-code")
    repository = platform.repository(files, "code")
    _push(platform, repository, "docker-code")
    texts = [f"{files['app.py']}# {number}\n" for number in range(ROUNDS)]
    rounds, note = _beyond_boot(platform, repository, "docker-code", "app.py", texts)
    yield Figure("code-only push of a Dockerfile, beyond boot", "s", rounds, "0.8", "0.5", note)


def _beyond_boot(
    platform: Platform, repository: Path, app: str, name: str, texts: list[str]
) -> tuple[list[float], str]:
    """Seconds of a push for each text of the file, without the app's own boot; and a note of that."""
    rounds, boots = list[float](), list[float]()
    for text in texts:
        commit(repository, "Change", **{name: text})
        said = list[str]()
        took = timed(lambda said=said: said.append(_push(platform, repository, app)))
        boots.append(float(re.findall(r"healthy after ([\d.]+) s", said[0])[-1]))
        rounds.append(took - boots[-1])
    return rounds, f"its boot, {sorted(boots)[len(boots) // 2]:.2f} s, taken off"


def _locked(requirements: Path) -> str:
    """The requirements with the digests of their files."""
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "compile", "-q", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--python-version", "3.11", requirements]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _stored_kib(platform: Platform) -> float:
    """What images and layers take on disk, once nothing changes there any more; a file with several names counts once."""
    last, now = -1.0, _files_kib(platform)
    while now != last:
        time.sleep(3)
        last, now = now, _files_kib(platform)
    return now


def _files_kib(platform: Platform) -> float:
    seen = {}
    for top in ("images", "layers"):
        for folder, folders, files in os.walk(platform.home / top):
            for name in (*folders, *files):
                with suppress(FileNotFoundError):
                    entry = os.lstat(os.path.join(folder, name))
                    seen[entry.st_ino] = entry.st_blocks
    return sum(seen.values()) / 2


def _go(platform: Platform) -> Iterator[Figure]:
    files = _files("go")
    first = _first(platform, files, "go")
    yield Figure("first build Go hello, with the toolchain", "s", [first], "", "")
    platform.paas("scale", "web=1", "-a", "go")
    repository = platform.repository(files, "code")
    _push(platform, repository, "go-code")
    texts = [files["main.go"].replace("from Go", f"number {number}") for number in range(ROUNDS)]
    rounds = _changes(platform, repository, "go-code", "main.go", texts)
    yield Figure("code-only push Go hello until it answers", "s", rounds, "1.5", "0.7", "with its boot")


def lookup() -> Figure:
    """What it costs to see that a layer is there: its note and its blob, without a process."""
    with build_platform() as platform:
        platform.build(platform.app("lookup"), dict(_files("hello")))
        with platform.store.read() as tx:
            keys = [row.key for row in layer_keys.all(tx)]
        rounds = []
        for key in keys * 100:
            began = time.monotonic()
            assert kept_layer(platform, key) is not None
            rounds.append(1000 * (time.monotonic() - began))
    return Figure("lookup of an unchanged layer", "ms", rounds, "2", "")


def fresh_machine() -> Figure:
    """A stack, a server and a first app where nothing is cached but what apt and the registries keep themselves."""

    def first_app() -> None:
        with tempfile.TemporaryDirectory(prefix="paas-bench-") as folder:
            os.chmod(folder, 0o755)
            stacks = Path(folder) / "stacks"
            command = [sys.executable, "-P", "-m", "runtime.stack", "create", "debian-12"]
            subprocess.run(
                [*command, "--stacks", str(stacks)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
            )
            platform = Platform(stacks=stacks)
            try:
                platform.start()
                platform.make_key()
                _push(platform, platform.repository("examples/hello", "hello"), "hello")
            finally:
                platform.close()

    return Figure("fresh machine until the first app serves", "s", [timed(first_app)], "45", "20")
