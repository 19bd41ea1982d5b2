"""Which core is loaded, and that it is the one that was asked for."""

from __future__ import annotations

import os
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
    for name in ("router", "templates"):
        (tmp_path / name).mkdir()
        for path in (ROOT / name).glob("*.py"):
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    stale = tmp_path / "router" / "_compiled" / core.digest() / "router"
    stale.mkdir(parents=True)
    (stale.parent / "done").touch()
    (stale / "stream.py").write_text("raise SystemExit('the build was loaded')\n")
    assert "the build was loaded" in python("router", "--version", wanted="auto", where=tmp_path).stderr
    with (tmp_path / "router" / "choice.py").open("a") as file:
        file.write("\n")
    assert python("router", "--version", wanted="auto", where=tmp_path).stdout == "router (core: pure)\n"
    assert python("router", "--version", wanted="compiled", where=tmp_path).returncode != 0


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
