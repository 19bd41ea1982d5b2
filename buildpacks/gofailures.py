"""What go, the C compiler and the linker print when a Go build fails, and what to say about it. The narrow hints stand
first."""

from __future__ import annotations

from buildpacks.aptnames import HEADERS, MODULES
from buildpacks.aptpackages import PUT_IT
from buildpacks.failurehint import FailureHint as Hint

_LACKS = "a package written in C needs {name} (Debian package {package}), which the stack does not have"
_ELSE = "Write the Debian package that holds it into a file named Aptfile, or take a package that is written in Go."


def failure_hints(version: str) -> tuple[Hint, ...]:
    """Builds have Go `version`."""
    older = Hint(
        r"go.mod requires go >= (?P<wanted>\S+) ",
        f"go.mod asks for Go {{wanted}}; builds have {version}",
        "Lower the go line in go.mod.",
    )
    return (older, *_HINTS)


_HINTS = (
    Hint(r"fatal error: (?P<name>\S+\.h(?:pp)?): No such file", _LACKS, PUT_IT, HEADERS),
    Hint(
        r"Package '?(?P<name>[A-Za-z0-9_.+-]+)'?,? (?:was )?(?:required by '[^']*', )?not found",
        _LACKS,
        PUT_IT,
        MODULES,
    ),
    Hint(
        r"fatal error: (?P<name>\S+\.h(?:pp)?): No such file",
        "a package written in C needs {name}, which the stack does not have",
        _ELSE,
    ),
    Hint(
        r"/ld: cannot find -l(?P<name>[\w.+-]+)",
        "a package written in C needs the library {name}, which the stack does not have",
        _ELSE,
    ),
    Hint(
        r"undefined reference to [`'](?P<name>[\w.@]+)'",
        "{name} is called, and its C library is not linked",
        "Write the library into the code: // #cgo LDFLAGS: -lNAME",
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
    Hint(
        r"missing go\.sum entry",
        "go.sum lacks a module",
        "Run go mod tidy, and commit go.mod and go.sum.",
    ),
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
        r"build constraints exclude all Go files in (?:/app/(?:vendor/)?|\S*/pkg/mod/)?(?P<name>\S+)$",
        "{name} has no file for this system",
        "Take a package that runs on Linux.",
    ),
    Hint(
        r"package (?P<name>\S+) is not in std",
        "no package {name}",
        "Check the import; a package of the module begins with the module's name.",
    ),
    Hint(
        r"module (?P<name>\S+) listed in go.work file requires go >= (?P<wanted>\S+),",
        "go.work asks for an older Go than {name}, which wants {wanted}",
        "Run go work use, and commit go.work.",
    ),
    Hint(
        r"cannot load module (?P<name>\S+) listed in go.work file",
        "go.work names {name}, which is not in the repository",
        "Commit that folder, or take it out of go.work.",
    ),
    Hint(r"^(?P<line>\S+\.go:\d+:\d+: .+)$", "{line}", "Correct the program: go build says the same."),
)
