"""Which core is loaded, and that it is the one that was asked for."""

from __future__ import annotations

import importlib
import json
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


class Copy:
    """The sources in another folder, with a build of them that ends the program when a module of it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        without_builds = shutil.ignore_patterns("_compiled", "__pycache__")
        for name in ("router", "templates"):
            shutil.copytree(ROOT / name, folder / name, ignore=without_builds)
        self.sources = folder / "router"
        self.build = self.sources / "_compiled" / core.digest()
        self.loaded = self.build / "router" / "io" / "stream.py"
        self.loaded.parent.mkdir(parents=True)
        self.loaded.write_text("raise SystemExit('the build was loaded')\n")
        self.list_files()

    def list_files(self) -> None:
        (self.build / core.LIST).write_text(json.dumps(core._files(self.build)))

    def core(self) -> str:
        run = python("router", "--version", wanted="auto", where=self.folder)
        if "the build was loaded" in run.stderr:
            return "compiled"
        assert run.stdout == "router (core: pure)\n", run.stderr
        return "pure"


@pytest.fixture
def copied(tmp_path: Path) -> Copy:
    copied = Copy(tmp_path)
    assert copied.core() == "compiled"
    return copied


def test_a_build_of_changed_sources_is_not_loaded(copied: Copy) -> None:
    for changed in (copied.sources / "__init__.py", *sorted(copied.sources.glob("*/__init__.py"))):
        before = changed.read_bytes()
        changed.write_bytes(before + b"\n")
        assert copied.core() == "pure", changed
        changed.write_bytes(before)
    assert copied.core() == "compiled"


@pytest.mark.parametrize("name", ["new.py", "wire/new.py", "wire/deeper/new.py", "new_room/new.py"])
def test_a_build_from_before_a_source_was_added_is_not_loaded(copied: Copy, name: str) -> None:
    added = copied.sources / name
    added.parent.mkdir(exist_ok=True)
    added.touch()
    assert copied.core() == "pure"
    assert python("router", "--version", wanted="compiled", where=copied.folder).returncode != 0


@pytest.mark.parametrize("name", ["middle/tunnel.py", "rules/pages.py"])
def test_a_build_from_before_a_source_was_removed_or_renamed_is_not_loaded(copied: Copy, name: str) -> None:
    """Whether it was compiled or not."""
    source = copied.sources / name
    source.rename(source.with_name("renamed.py"))
    assert core.digest(copied.sources) != core.digest()
    source.with_name("renamed.py").unlink()
    assert core.digest(copied.sources) != core.digest()


def test_a_build_of_another_python_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = core.digest()
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: "cpython-399-x86_64-linux-gnu")
    assert core.digest() != ours


def test_a_build_that_is_not_whole_is_not_loaded(copied: Copy) -> None:
    (copied.build / core.LIST).rename(copied.build / "away")
    assert copied.core() == "pure", "without a list"
    (copied.build / "away").rename(copied.build / core.LIST)
    other = copied.build / "router" / "io" / "other.so"
    other.write_bytes(b"12345")
    assert copied.core() == "pure", "a file that is not listed"
    copied.list_files()
    assert copied.core() == "compiled"
    other.write_bytes(b"123")
    assert copied.core() == "pure", "a file of another size"
    other.unlink()
    assert copied.core() == "pure", "a file that is gone"


def test_a_module_that_is_not_compiled_comes_from_the_sources_and_all_others_from_the_build() -> None:
    if core.loaded() == "pure":
        assert not [name for name in sys.modules if name.startswith("router.") and _is_compiled(name)]
        return
    for name in core.MODULES:
        assert _is_compiled(f"router.{name}"), name
    assert not _is_compiled("router.rules.pages") and not _is_compiled("router.core")


def _is_compiled(name: str) -> bool:
    return str(importlib.import_module(name).__file__).startswith(str(core.COMPILED))


def test_a_build_is_put_in_place_whole_and_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(core, "COMPILED", tmp_path / "_compiled")
    built, folder = tmp_path / "out", tmp_path / "_compiled" / "0123"
    (built / "router").mkdir(parents=True)
    (built / "router" / "shared.so").write_bytes(b"code")
    for left in (tmp_path / "_compiled" / "old" / "router", tmp_path / "_compiled" / "new-0123", folder):
        left.mkdir(parents=True)
        (left / "half.so").write_bytes(b"co")
    core._publish(built, folder)
    assert core.is_whole(folder) and [path.name for path in (tmp_path / "_compiled").iterdir()] == ["0123"]
    before = (folder / core.LIST).stat().st_ino
    core._publish(built, folder)
    assert (folder / core.LIST).stat().st_ino == before, "a whole one stays"


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
