"""Which core is loaded, and that it is the one that was asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from router import core

ROOT = Path(__file__).resolve().parents[3]


def python(*arguments: str, wanted: str, where: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROUTER_CORE": wanted, "PYTHONPATH": str(where)}
    command = [sys.executable, "-P", "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=where, check=False)


def test_this_suite_runs_against_the_core_that_was_asked_for() -> None:
    wanted = os.environ.get("ROUTER_CORE")
    assert wanted in (None, core.loaded())


def test_the_version_tells_the_core() -> None:
    assert python("router", "--version", wanted="pure").stdout == "router (core: pure)\n"


def test_a_build_of_other_sources_is_not_loaded(tmp_path: Path) -> None:
    without_builds = shutil.ignore_patterns("_compiled", "__pycache__")
    for name in ("router", "templates"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=without_builds)
    stale = tmp_path / "router" / "_compiled" / core.digest() / "router" / "io"
    stale.mkdir(parents=True)
    (stale.parents[1] / "done").touch()
    (stale / "stream.py").write_text("raise SystemExit('the build was loaded')\n")
    assert "the build was loaded" in python("router", "--version", wanted="auto", where=tmp_path).stderr
    sources = tmp_path / "router"
    for changed in (sources / "__init__.py", *sorted(sources.glob("*/__init__.py"))):
        before = changed.read_bytes()
        changed.write_bytes(before + b"\n")
        assert python("router", "--version", wanted="auto", where=tmp_path).stdout == "router (core: pure)\n"
        changed.write_bytes(before)
    (sources / "wire" / "new.py").touch()
    assert python("router", "--version", wanted="auto", where=tmp_path).stdout == "router (core: pure)\n"
    assert python("router", "--version", wanted="compiled", where=tmp_path).returncode != 0


def test_every_module_that_is_to_be_compiled_exists() -> None:
    assert [
        name for name in core.MODULES if not (core.PACKAGE / f"{name.replace('.', '/')}.py").exists()
    ] == []


def test_without_a_compiler_one_line_says_so_and_nothing_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(core, "COMPILED", tmp_path)
    assert core.main(["--due"]) == 0, "there is a compiler, and nothing built"
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: "no-such-compiler -pthread")
    assert core.main(["--due"]) == 1
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "no C compiler" in out
    assert list(tmp_path.iterdir()) == []
