"""Which core runs: the Python sources, or the same sources compiled by mypyc into `_compiled/DIGEST` beside them.

The digest is that of the sources, so a build can never be stale: other sources, another folder, and until that has
been built the Python sources run. `python -m router.core` builds (it needs mypy, setuptools, a C compiler, Python's headers),
`ROUTER_CORE=pure` or `compiled` chooses, `python -m router --version` tells.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

import router

PACKAGE: Final = Path(__file__).resolve().parent
COMPILED: Final = PACKAGE / "_compiled"
MODULES: Final = [
    "back.connection",
    "back.health",
    "back.link",
    "back.upstreams",
    "control",
    "front.answers",
    "front.client",
    "front.entrance",
    "front.h2",
    "front.h2stream",
    "front.http1",
    "io.loop",
    "io.stream",
    "io.tls",
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
    "wire.chunked",
    "wire.h2fields",
    "wire.heads",
    "wire.proxyprotocol",
    "wire.request",
    "wire.response",
    "wire.rewrite",
]
"""What is compiled: everything that touches each request. The rest is glue."""

_SETUP: Final = """
from mypyc.build import mypycify
from setuptools import setup
setup(name="router-core", packages=[], ext_modules=mypycify({files!r}, opt_level="1", debug_level="0"))
"""


class BuildFailed(Exception):
    """The compiler's last words."""


def lacking() -> str:
    """What there must be to compile besides mypy and setuptools, and is not; nothing when all is there."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return "C compiler"
    headers = Path(sysconfig.get_paths()["include"], "Python.h").exists()
    return "" if headers else "header files of Python"


def _sources() -> list[Path]:
    """Every source of the router, those of its rooms too."""
    rooms = [PACKAGE, *(path.parent for path in PACKAGE.glob("*/__init__.py"))]
    return sorted(path for room in rooms for path in room.glob("*.py"))


def digest() -> str:
    """Sixteen hex digits that stand for these sources and this Python."""
    sources = hashlib.sha256((sysconfig.get_config_var("SOABI") or sys.version).encode())
    for path in _sources():
        sources.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return sources.hexdigest()[:16]


def load(wanted: str | None = None) -> str:
    """Make `import router.…` find the compiled modules where they are wanted and exist: to be called before any of
    them is imported. Returns `pure` or `compiled`. Raises BuildFailed when `compiled` is wanted and was not built."""
    wanted = wanted or os.environ.get("ROUTER_CORE") or "auto"
    folder = COMPILED / digest()
    if wanted == "pure" or not (folder / "done").exists():
        if wanted == "compiled":
            raise BuildFailed(f"{folder} does not exist: run python -m router.core")
        return "pure"
    sys.path.insert(0, str(folder))  # the code that all compiled modules share lies at its top
    router.__path__.insert(0, str(folder / "router"))
    for room in {name.rpartition(".")[0] for name in MODULES} - {""}:
        package = importlib.import_module(f"router.{room}")
        package.__path__.insert(0, str(folder / "router" / room))
    return "compiled"


def loaded() -> str:
    """Which core was loaded: by the kind of file that a module came from."""
    module = sys.modules.get("router.io.stream")
    return "compiled" if str(getattr(module, "__file__", "")).endswith(".so") else "pure"


def build() -> Path:
    """Compile; replaces older builds. Raises BuildFailed."""
    folder = COMPILED / digest()
    if (folder / "done").exists():
        return folder
    with tempfile.TemporaryDirectory(prefix="router-core-") as work:
        room = Path(work)
        shutil.copytree(PACKAGE, room / "router", ignore=shutil.ignore_patterns("_compiled", "__pycache__"))
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
    """Put a build in place, whole or not at all, and remove older ones."""
    COMPILED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="new-", dir=COMPILED) as work:
        new = Path(work) / "new"
        shutil.copytree(built, new)
        (new / "done").touch()
        for old in COMPILED.iterdir():
            if old not in (Path(work), folder):
                _remove(old)
        if not (folder / "done").exists():
            os.rename(new, folder)


def _remove(folder: Path) -> None:
    (folder / "done").unlink(missing_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def main(argv: list[str]) -> int:
    """Build. With `--due` only tell, by success, whether there is something to build and something to build it with."""
    if argv == ["--due"]:
        lack = lacking()
        if lack:
            print(
                f"The router's core is not compiled, it runs slower: there is no {lack} (gcc, python3-dev)."
            )
        return 1 if lack or (COMPILED / digest() / "done").exists() else 0
    try:
        print(build())
    except (BuildFailed, OSError) as error:
        print(f"router.core: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
