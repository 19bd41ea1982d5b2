"""Go: which programs a tree has, how they are built, which one serves, and what its tools' failures mean."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from harness.sources import DictTree

from buildpacks import detect, go
from buildpacks.failurehint import named_cause
from buildpacks.plan import BuildRefused, Plan

MODULE = "module example.com/hello\n\ngo 1.22\n"
MAIN = "// Command\npackage main\n\nfunc main() {}\n"


def plan(processes: Mapping[str, str] | None = None, /, **files: str) -> Plan:
    return detect.choose(DictTree(files), processes or {})


def script(made: Plan) -> str:
    found = re.search(r"go build -(?:mod|o).*?(?= 2>&1|$)", made.steps[-1].script, re.MULTILINE)
    assert found is not None
    return found[0]


def test_a_module_becomes_a_program_named_after_it_that_serves() -> None:
    made = plan(**{"go.mod": MODULE, "main.go": MAIN})
    assert (made.language, made.detected, made.default_processes) == ("Go", "go.mod", {"web": "hello"})
    assert made.path == ("/app/bin",)
    assert script(made) == "go build -o /app/bin/ -- ."
    toolchain, build = made.steps
    assert toolchain.shared and not toolchain.in_image and not toolchain.after_source
    assert build.after_source and build.source and build.onto == ("go",) and build.outputs == ("/app/bin",)
    assert build.env["CGO_ENABLED"] == "0"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("example.com/hello", "hello"),
        ("example.com/hello/v2", "hello"),
        ("hello", "hello"),
        ("v2", "v2"),
        ('"example.com/quoted"', "quoted"),
    ],
)
def test_the_binary_has_the_last_part_of_the_module(path: str, name: str) -> None:
    made = plan(**{"go.mod": f"// first\nmodule {path}\n", "main.go": MAIN})
    assert made.default_processes == {"web": name}


def test_vendored_modules_are_used() -> None:
    made = plan(**{"go.mod": MODULE, "main.go": MAIN, "vendor/modules.txt": "# x v1\n"})
    assert script(made) == "go build -mod=vendor -o /app/bin/ -- ."
    assert "Using the modules in vendor/" in made.notes


def test_a_program_without_a_module_is_built_from_its_files() -> None:
    made = plan(**{"main.go": MAIN, "more.go": "package main\n", "main_test.go": "package main\n"})
    assert script(made) == "go build -o /app/bin/ -- main.go more.go"
    assert made.default_processes == {"web": "main"}


def test_programs_lie_in_cmd() -> None:
    files = {
        "go.mod": MODULE,
        "lib.go": "package hello\n",
        "cmd/tool/x.go": MAIN,
        "cmd/lib/y.go": "package lib\n",
    }
    assert script(plan(**files)) == "go build -o /app/bin/ -- ./cmd/tool"
    two = plan(**files, **{"cmd/server/main.go": MAIN})
    assert script(two) == "go build -o /app/bin/ -- ./cmd/server ./cmd/tool"
    assert two.default_processes == {"web": "server"}


def test_of_several_programs_the_procfile_says_which_serves() -> None:
    files = {"go.mod": MODULE, "cmd/a/main.go": MAIN, "cmd/b/main.go": MAIN}
    with pytest.raises(BuildRefused, match="several programs: a, b"):
        plan(**files)
    assert plan({"web": "b"}, **files, Procfile="web: b").default_processes == {}
    more = {f"cmd/{name}/main.go": MAIN for name in ("migrate", "site", "mail-worker")}
    with pytest.raises(BuildRefused) as caught:
        plan(**{**files, **more})
    assert '"web: a"' in caught.value.hint
    assert plan(**{"go.mod": MODULE, **more}).default_processes == {"web": "site"}
    named = plan(**{**files, **more, "cmd/hello/main.go": MAIN})
    assert named.default_processes == {"web": "hello"}


def test_what_heroku_reads_in_go_mod_counts() -> None:
    made = plan(
        **{"go.mod": MODULE + "// +heroku install ./server ./a;b\n", "server/x.go": MAIN, "Procfile": ""}
    )
    assert script(made) == "go build -o /app/bin/ -- ./server './a;b'"


@pytest.mark.parametrize(
    "files",
    [
        {"go.mod": MODULE, "lib.go": "package hello\n"},
        {"go.mod": MODULE, "gen.go": "//go:build ignore\n\n" + MAIN},
        {"go.mod": MODULE, "main_test.go": MAIN},
    ],
)
def test_a_module_without_a_program_is_refused(files: dict[str, str]) -> None:
    with pytest.raises(BuildRefused, match="no program"):
        plan(**files)


def test_a_newer_go_is_refused_before_anything_runs() -> None:
    newest = ".".join(go.VERSION.split(".")[:2])
    assert go.VERSION in plan(**{"go.mod": f"module x\ngo {newest}.9\n", "main.go": MAIN}).notes[0]
    with pytest.raises(BuildRefused, match=r"go\.mod asks for Go 1\.99\.1"):
        plan(**{"go.mod": "module x\n\ngo 1.99.1\n", "main.go": MAIN})


def test_a_module_that_needs_c_gets_it() -> None:
    made = plan(**{"go.mod": MODULE + "require github.com/mattn/go-sqlite3 v1.14.22\n", "main.go": MAIN})
    assert made.steps[-1].env["CGO_ENABLED"] == "1"
    own = MAIN.replace("\n\nfunc", '\n\n// #include <math.h>\nimport "C"\n\nfunc')
    for text in (own, MAIN.replace("\n\nfunc", '\n\nimport (\n\t"fmt"\n\t"C"\n)\n\nfunc')):
        assert plan(**{"go.mod": MODULE, "main.go": text}).steps[-1].env["CGO_ENABLED"] == "1"
    vendored = plan(**{"go.mod": MODULE, "main.go": MAIN, "vendor/modules.txt": "", "vendor/x/a.go": own})
    assert vendored.steps[-1].env["CGO_ENABLED"] == "0"


WORK = "go 1.22\n\nuse (\n\t./api // serves\n\t./lib\n)\n"


def test_the_modules_of_a_workspace_are_built_where_they_lie() -> None:
    files = {
        "go.work": WORK,
        "api/go.mod": "module example.com/api/v2\n",
        "api/main.go": MAIN,
        "api/cmd/move/main.go": MAIN,
        "lib/go.mod": "module example.com/lib\n",
        "lib/lib.go": "package lib\n",
        "other/go.mod": "module example.com/other\n",
        "other/main.go": MAIN,
    }
    made = plan(**files)
    assert made.detected == "go.work" and "go.work asks for 1.22" in made.notes[0]
    assert script(made) == "go build -o /app/bin/ -- ./api ./api/cmd/move"
    assert made.default_processes == {"web": "api"}
    one = plan(
        **{"go.work": "go 1.22\nuse ./api\n", "api/go.mod": "module example.com/web\n", "api/main.go": MAIN}
    )
    assert one.default_processes == {"web": "web"}
    named = {**files, "api/go.mod": "module example.com/shop\n// +heroku install ./cmd/...\n", "Procfile": ""}
    assert script(plan(**named)) == "go build -o /app/bin/ -- ./api/cmd/..."
    with pytest.raises(BuildRefused, match=r"go\.work asks for Go 1\.99"):
        plan(**{**files, "go.work": WORK.replace("1.22", "1.99")})
    with pytest.raises(BuildRefused, match=r"api/go\.mod is not in the repository"):
        plan(**{"go.work": "use ./api\n"})
    with pytest.raises(BuildRefused, match="no program"):
        plan(**{"go.work": "go 1.22\n"})


def test_go_serves_beside_files_of_other_languages_unless_the_procfile_says_otherwise() -> None:
    files = {"go.mod": MODULE, "main.go": MAIN, "package.json": "{}", "index.html": ""}
    made = plan(**files)
    assert made.language == "Go" and "Node files are there, too" in made.notes[0]
    chosen = plan({"web": "node server.js"}, **files, Procfile="web: node server.js")
    assert chosen.language != "Go" and "go.mod is there, too" in chosen.notes[0]


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            "go: go.mod requires go >= 1.99 (running go 1.27.3; GOTOOLCHAIN=local)",
            f"go.mod asks for Go 1.99; builds have {go.VERSION}",
        ),
        (
            "main.go:3:8: no required module provides package github.com/x/y; to add it:\n\tgo get github.com/x/y",
            "go.mod and go.sum lack github.com/x/y",
        ),
        (
            "main.go:3:8: missing go.sum entry for module providing package github.com/x/y (imported by"
            " example.com/hello); to add:\n\tgo get example.com/hello",
            "go.mod and go.sum lack github.com/x/y",
        ),
        (
            'main.go:3:8: github.com/x/y@v1.0.0: Get "https://proxy.golang.org/github.com/x/y/@v/v1.0.0.zip": dial tcp:'
            " lookup proxy.golang.org on 10.0.0.53:53: no such host",
            "the server does not reach the module proxy https://proxy.golang.org",
        ),
        (
            "main.go:3:8: github.com/x/y@v1.0.0: reading file:///srv/px/github.com/x/y/@v/v1.0.0.zip: no such file or"
            " directory",
            "the module proxy has no github.com/x/y@v1.0.0",
        ),
        ("# example.com/hello\n./main.go:3:15: undefined: foo", "./main.go:3:15: undefined: foo"),
        (
            "# example.com/hello\n./main.go:4:1: syntax error: unexpected EOF, expected }",
            "./main.go:4:1: syntax error: unexpected EOF, expected }",
        ),
        (
            "go: inconsistent vendoring in /app:\n\tgithub.com/x/y@v1.0.0: is explicitly required in go.mod, but not"
            " marked as explicit in vendor/modules.txt",
            "vendor/modules.txt does not fit go.mod",
        ),
        (
            "main.go:3:8: no required module provides package github.com/x/y: go.mod file not found in current"
            " directory or any parent directory; see 'go help modules'",
            "the program imports github.com/x/y, and there is no go.mod",
        ),
        ("main.go:3:8: package foo/y is not in std (/app/.go/src/foo/y)", "no package foo/y"),
        (
            "package example.com/cgo\n\timports example.com/cgo/only: build constraints exclude all Go files in /app/only",
            "only has no file for this system",
        ),
        (
            "# example.com/cgo\n./main.go:4:11: fatal error: vips/vips.h: No such file or directory\n"
            "    4 | // #include <vips/vips.h>\n",
            "a package written in C needs vips/vips.h (Debian package libvips-dev), which the stack does not have",
        ),
        (
            "# example.com/cgo\n# [pkg-config --cflags  -- vips]\nPackage vips was not found in the pkg-config search path.\n",
            "a package written in C needs vips (Debian package libvips-dev), which the stack does not have",
        ),
        (
            "# example.com/cgo\n/usr/bin/ld: cannot find -lrdkafka: No such file or directory\n"
            "collect2: error: ld returned 1 exit status",
            "a package written in C needs the library rdkafka, which the stack does not have",
        ),
        (
            "/usr/bin/ld: /var/tmp/go-link-3381051033/000001.o: in function `_cgo_529fdd268c7a_Cfunc_sqrt':\n"
            "/tmp/go-build/main.cgo2.c:54: undefined reference to `sqrt'\ncollect2: error: ld returned 1 exit status",
            "sqrt is called, and its C library is not linked",
        ),
    ],
)
def test_what_go_says_is_put_into_words(said: str, cause: str) -> None:
    """Real output of Go 1.27."""
    hints = plan(**{"go.mod": MODULE, "main.go": MAIN}).steps[-1].failure_hints
    found = named_cause(hints, said.splitlines())
    assert found is not None and found[0] == cause
