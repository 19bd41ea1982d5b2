"""Which core runs: the Python sources, or the same sources compiled by mypyc into `_compiled/DIGEST` beside them.

`python -m router.core` builds (it needs mypy, setuptools, a C compiler, Python's headers), `ROUTER_CORE=pure` or
`compiled` chooses, `python -m router --version` shows.

A stale build is never loaded: the digest covers every source of the package and the Python that runs it, and is taken
of the very files that were compiled. An incomplete build is never loaded: it is renamed into place whole, and its list
of files and sizes must match what is there.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

import router

PACKAGE: Final = Path(__file__).resolve().parent
COMPILED: Final = PACKAGE / "_compiled"
LIST: Final = "files.json"
"""The file in each build that lists its files and their sizes."""
MODULES: Final = [
    "back.connection",
    "back.health",
    "back.pooled",
    "back.upstreams",
    "control",
    "front.answers",
    "front.client",
    "front.entrance",
    "front.h2",
    "front.h2budget",
    "front.h2frames",
    "front.h2stream",
    "front.h2writer",
    "front.http1",
    "front.requests",
    "io.loop",
    "io.stream",
    "io.tls",
    "middle.answering",
    "middle.bulk",
    "middle.exchange",
    "middle.inflight",
    "middle.sides",
    "middle.timeouts",
    "middle.tunnel",
    "report.access",
    "report.entry",
    "report.metrics",
    "report.ring",
    "rules.paths",
    "rules.pieces",
    "rules.route",
    "rules.table",
    "rules.tablefile",
    "shared",
    "upkeep",
    "wire.body",
    "wire.cache",
    "wire.chunked",
    "wire.h2fields",
    "wire.h2reader",
    "wire.h2wire",
    "wire.heads",
    "wire.hpack",
    "wire.proxyprotocol",
    "wire.request",
    "wire.response",
    "wire.rewrite",
]
"""What is compiled: the modules in which requests spend their time."""

_SETUP: Final = """
from mypyc.build import mypycify
from setuptools import setup
setup(name="router-core", packages=[], ext_modules=mypycify({files!r}, opt_level="1", debug_level="0"))
"""


class BuildFailed(Exception):
    """There is no build; the message is the end of the compiler's output, or says how to build."""


def lacking() -> str:
    """What is missing to compile, besides mypy and setuptools; empty when nothing is."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return "C compiler"
    headers = Path(sysconfig.get_paths()["include"], "Python.h").exists()
    return "" if headers else "header files of Python"


def digest(package: Path = PACKAGE) -> str:
    """Sixteen hex digits that identify the sources of the package, its rooms included, and this Python."""
    found = hashlib.sha256((sysconfig.get_config_var("SOABI") or sys.version).encode())
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] != COMPILED.name:
            found.update(str(name).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _files(folder: Path) -> dict[str, int]:
    """Every file of a build with its size, but for the list of them."""
    files = (path for path in folder.rglob("*") if path.is_file() and path != folder / LIST)
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


def is_whole(folder: Path) -> bool:
    """Whether this is a build with all of its files and no others: a foreign file in it would hide a source."""
    try:
        listed = json.loads((folder / LIST).read_text())
    except (OSError, ValueError):
        return False
    return bool(listed == _files(folder))


def load(wanted: str | None = None) -> str:
    """Let `import router.…` find the compiled modules, if they are wanted and built. Call it before any of them is
    imported. Returns `pure` or `compiled`. Raises BuildFailed when `compiled` is wanted and not built."""
    wanted = wanted or os.environ.get("ROUTER_CORE") or "auto"
    folder = COMPILED / digest()
    if wanted == "pure" or not is_whole(folder):
        if wanted == "compiled":
            raise BuildFailed(f"{folder} does not exist: run python -m router.core")
        return "pure"
    sys.path.insert(0, str(folder))  # the library that all compiled modules share lies there
    router.__path__.insert(0, str(folder / "router"))
    for room in {name.rpartition(".")[0] for name in MODULES} - {""}:
        package = importlib.import_module(f"router.{room}")
        package.__path__.insert(0, str(folder / "router" / room))
    return "compiled"


def loaded() -> str:
    """Which core was loaded, by the kind of file that a module came from."""
    module = sys.modules.get("router.io.stream")
    return "compiled" if str(getattr(module, "__file__", "")).endswith(".so") else "pure"


def build() -> Path:
    """Compile; replaces older builds. Raises BuildFailed."""
    import subprocess  # here, since a worker of the router never builds

    folder = COMPILED / digest()
    if is_whole(folder):
        return folder
    with tempfile.TemporaryDirectory(prefix="router-core-") as work:
        room = Path(work)
        shutil.copytree(PACKAGE, room / "router", ignore=shutil.ignore_patterns(COMPILED.name, "__pycache__"))
        folder = COMPILED / digest(room / "router")  # of the copy: sources may have changed meanwhile
        (room / "setup.py").write_text(
            _SETUP.format(files=[f"router/{name.replace('.', '/')}.py" for name in MODULES])
        )
        command = [sys.executable, "setup.py", "build_ext", "--build-lib", "out", "--build-temp", "temp"]
        result = subprocess.run(command, cwd=room, capture_output=True, text=True)
        if result.returncode:
            raise BuildFailed((result.stdout + result.stderr)[-2000:])
        _publish(room / "out", folder)
    return folder


def _publish(built: Path, folder: Path) -> None:
    """Put a build in place, whole or not at all, and remove all others."""
    COMPILED.mkdir(exist_ok=True)
    lock = os.open(COMPILED, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for old in COMPILED.iterdir():
            if old != folder or not is_whole(old):
                _remove(old)
        if not folder.exists():
            new = folder.with_name(f"new-{folder.name}")
            shutil.copytree(built, new)
            (new / LIST).write_text(json.dumps(_files(new)))
            os.sync()  # or a power failure could leave the name without the contents
            os.rename(new, folder)
    finally:
        os.close(lock)


def _remove(folder: Path) -> None:
    (folder / LIST).unlink(missing_ok=True)  # first: what is half removed is no build
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def main(argv: list[str]) -> int:
    """Build. With `--due`, only succeed if there is something to build and something to build it with."""
    if argv == ["--due"]:
        lack = lacking()
        if lack:
            print(
                f"The router's core is not compiled, it runs slower: there is no {lack} (gcc, python3-dev)."
            )
        return 1 if lack or is_whole(COMPILED / digest()) else 0
    try:
        print(build())
    except (BuildFailed, OSError) as error:
        print(f"router.core: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
