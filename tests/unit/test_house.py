"""The rules of the house that a reader relies on, kept by machine."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "paas": {"paas", "buildpacks", "router", "runtime", "templates"},
    "buildpacks": {"buildpacks"},
    "router": {"router", "templates"},
    "runtime": {"runtime"},
}
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
PURE = [
    "paas/nouns/model.py", "paas/nouns/names.py", "paas/nouns/errors.py", "paas/nouns/lifecycle.py", "paas/manifest/procfile.py", "paas/manifest/appjson.py",
    "paas/nouns/certificates.py", "paas/front/table.py", "paas/front/settings.py", "paas/converge/plan.py", "buildpacks/plan.py", "runtime/spec.py", "runtime/home.py",
]  # fmt: skip
EFFECTS = {
    "subprocess",
    "socket",
    "time",
    "threading",
    "select",
    "selectors",
    "apsw",
    "flask",
    "paramiko",
    "tempfile",
}


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert _imports(path) & set(ROOMS) <= ROOMS[room]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_one_job_and_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("name", PURE)
def test_the_pure_core_touches_nothing(name: str) -> None:
    assert not _imports(ROOT / name) & EFFECTS


def test_the_spawner_needs_nothing_but_the_standard_library() -> None:
    for path in (ROOT / "runtime").rglob("*.py"):
        foreign = _imports(path) - set(sys.stdlib_module_names) - {"runtime"}
        assert not foreign, f"{path}: {foreign}"


def test_every_child_of_the_platform_is_forked_where_crashes_are_logged() -> None:
    found = [path for path in (ROOT / "paas").rglob("*.py") if "os.fork" in path.read_text()]
    assert not found


def test_the_runtime_talks_to_the_kernel_in_one_place() -> None:
    runtime = [path for path in FILES if path.is_relative_to(ROOT / "runtime")]
    assert [path.name for path in runtime if "ctypes" in _imports(path)] == ["syscalls.py"]


FORBIDDEN = {"system", "popen", "rmtree", "extractall"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_shell_and_no_careless_deletion_or_extraction(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            owner = (
                node.func.value.id
                if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
                else ""
            )
            assert not (name in FORBIDDEN and owner in ("os", "shutil", "tarfile", "tar", "archive")), (
                f"line {node.lineno}"
            )
            assert not any(word.arg == "shell" for word in node.keywords), f"line {node.lineno}"
            assert owner not in ("pickle", "marshal"), f"line {node.lineno}"


def _calls(path: Path) -> set[str]:
    """Every `name.attribute(…)` in the file."""
    return {
        f"{node.func.value.id}.{node.func.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_waits_by_a_call_that_knows_1024_descriptors_only(path: Path) -> None:
    assert not _calls(path) & {"select.select", "selectors.SelectSelector"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_thread_is_one_that_cannot_end_in_silence(path: Path) -> None:
    started = _calls(path) & {"threading.Thread", "threading.Timer", "_thread.start_new_thread"}
    assert not started or path == ROOT / "paas/daemon/threads.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_expression_begins_a_line_with_white_space_that_crosses_lines(path: Path) -> None:
    """`^\\s*` over many lines starts at each of them and runs over all that follow: quadratic, with the interpreter's
    lock held, in what tenants send."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not any(start in node.value for start in (r"^\s*", r"^\s+")), f"line {node.lineno}"
