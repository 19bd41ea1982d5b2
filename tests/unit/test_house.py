"""The rules of the house that a reader relies on, kept by machine."""

from __future__ import annotations

import ast
import re
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "paas": {"paas", "buildpacks", "router", "runtime", "templates"},
    "buildpacks": {"buildpacks"},
    "router": {"router", "templates"},
    "runtime": {"runtime"},
}
FILES = [
    path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if "_compiled" not in path.parts
]
PURE = [
    "paas/nouns/model.py", "paas/nouns/names.py", "paas/nouns/values.py", "paas/nouns/errors.py", "paas/nouns/lifecycle.py", "paas/manifest/procfile.py", "paas/manifest/appjson.py", "paas/manifest/jsonvalues.py",
    "paas/nouns/certificates.py", "paas/routing/table.py", "paas/routing/settings.py", "paas/converge/plan.py", "buildpacks/plan.py", "runtime/fields.py", "runtime/spec.py", "runtime/protocol.py", "runtime/home.py",
]  # fmt: skip
FLOORS = {
    "paas": {
        "nouns": 1, "daemon": 2, "keys": 2, "logs": 2, "manifest": 2, "runs": 2, "routing": 3, "store": 4, "build": 5, "converge": 5,
        "tls": 5, "release": 6, "api": 7, "host": 7, "cli": 8, "receive": 9, "ssh": 10,
    },
    "router": {
        "wire": 1, "rules": 2, "io": 2, "report": 3, "shared": 4, "middle": 5, "back": 6, "front": 6, "core": 6, "control": 7,
        "upkeep": 7, "worker": 8, "__main__": 9,
    },
    "runtime": {
        "fields": 1, "frames": 1, "home": 1, "reactor": 1, "spec": 2, "protocol": 3, "kernel": 3, "client": 4, "cgroup": 4, "image": 4, "net": 4, "container": 5, "stack": 5,
        "spawner": 6, "__main__": 7,
    },
}  # fmt: skip
"""The floor of each room: a room imports from lower floors only, its files from each other in no circle."""
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


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_module(path): path for path in FILES}


def _modules_imported(path: Path) -> set[str]:
    """The modules of this repository that a file imports, anywhere in it, those for types only among them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return (found & set(MODULES)) - {_module(path)}


IMPORTS = {module: _modules_imported(path) for module, path in MODULES.items()}


def _circle(top: str) -> list[str]:
    """A way along imports that leads back to where it began; nothing when there is none."""
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module not in done:
            for imported in sorted(IMPORTS[module]):
                if found := walk(imported, [*way, module]):
                    return found
            done.add(module)
        return []

    return next(
        (found for module in sorted(IMPORTS) if module.startswith(f"{top}.") and (found := walk(module, []))),
        [],
    )


@pytest.mark.parametrize("top", sorted(ROOMS))
def test_no_import_leads_back_to_where_it_began(top: str) -> None:
    circle = _circle(top)
    assert not circle, " -> ".join(circle)


def _room(module: str) -> str:
    return [*module.split("."), ""][1]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_room_imports_from_lower_floors_only(module: str) -> None:
    floors = FLOORS.get(module.partition(".")[0])
    if floors is None or not _room(module):
        return
    for imported in IMPORTS[module]:
        if imported.partition(".")[0] == module.partition(".")[0] and _room(imported) not in (
            "",
            _room(module),
        ):
            assert floors[_room(imported)] < floors[_room(module)], imported


@pytest.mark.parametrize("top", sorted(ROOMS))
def test_a_room_says_where_to_begin(top: str) -> None:
    for path in sorted((ROOT / top).glob("*/__init__.py")):
        said = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert "Begin" in said, path
        named = set(re.findall(r"`(\w+)`", said))
        assert named & {file.stem for file in path.parent.glob("*.py")}, path


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
    native = {path.name for path in runtime if "ctypes" in _imports(path)}
    assert native == {"syscalls.py", "zstd.py"}, "zstd.py calls a library, no kernel"


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


ONE_PLACE = {
    r"os\.replace\(|mkstemp\(": {
        "runtime/kernel/files.py",
        "paas/api/serve.py",  # a socket
        "paas/logs.py",  # a log is rotated
        "router/io/tickets.py", "router/rules/pieces.py",  # the router knows no other folder
    },
    r"fcntl\.flock\(": {
        "runtime/kernel/files.py", "router/core.py", "router/io/tickets.py",
        "paas/cli/router.py", "paas/logs.py", "paas/receive/sources.py",  # locks of files that are open already
    },
    r"\.isprintable\(\) else": {"paas/nouns/text.py", "buildpacks/plan.py", "runtime/kernel/forked.py"},
    r"\b86_?400\b": {"paas/nouns/units.py"},
}  # fmt: skip
"""What is written in one place, and the few files that have a reason to do it themselves."""


@pytest.mark.parametrize("idea", sorted(ONE_PLACE))
def test_an_idea_has_one_place(idea: str) -> None:
    found = {str(path.relative_to(ROOT)) for path in FILES if re.search(idea, path.read_text())}
    assert found <= ONE_PLACE[idea], sorted(found - ONE_PLACE[idea])
    assert found, "nothing is left to keep in one place"


def test_every_file_of_tests_is_collected(pytestconfig: pytest.Config) -> None:
    skipped = pytestconfig.getini("norecursedirs")
    tests = ROOT / "tests"
    for path in tests.rglob("*.py"):
        folders = path.relative_to(tests).parts[:-1]
        assert not [name for name in folders if any(fnmatch(name, pattern) for pattern in skipped)], path
        if re.search(r"^def test_", path.read_text(), re.M):
            assert path.name.startswith("test_"), f"{path} has tests that pytest does not look for"
