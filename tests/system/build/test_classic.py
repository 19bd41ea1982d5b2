"""Buildpacks that others wrote for Heroku: two in order, from a folder and from an archive."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile

import pytest
from harness.builder import BuildPlatform

from paas.nouns.errors import BuildFailed

COMPILE = """#!/usr/bin/env bash
set -eu
mkdir -p "$1/vendor/tool/bin" "$1/.profile.d" "$2"
[ "$1" = /app ] && [ -d "$3" ] || exit 9
[ -z "${GREETING-}" ] || exit 10
echo "cached: $(cat "$2/count" 2>/dev/null || echo nothing)"
echo once >"$2/count"
printf '#!/bin/sh\\necho tool\\n' >"$1/vendor/tool/bin/tool"
chmod +x "$1/vendor/tool/bin/tool"
echo "export PATH=\\$HOME/vendor/tool/bin:\\$PATH GREETED='$(cat "$3/GREETING")'" >"$1/.profile.d/tool.sh"
echo "export TOOL=$1/vendor/tool/bin/tool" >"$(dirname "$0")/../export"
"""
SECOND = """#!/bin/sh
[ "$(cat "$1/app.txt")" = hello ] && "$TOOL" | sed 's/^/second: /'
"""
RELEASE = """#!/bin/sh
printf -- '---\\nconfig_vars:\\n  A: b\\n  PATH: /x\\naddons:\\n- heroku-postgresql:mini\\ndefault_process_types:\\n  web: "tool --port $PORT"\\n  worker: tool\\n'
"""
FIRST = {
    "packs/first/bin/detect": '#!/bin/sh\n[ -f "$1/app.txt" ] && echo First\n',
    "packs/first/bin/compile": COMPILE,
}


def archive(**files: str) -> bytes:
    """A folder `pack-1.0` as a host of repositories packs it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"pack-1.0/bin/{name}")
            info.size, info.mode = len(text), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue()


def test_two_buildpacks_vendor_a_tool_and_name_the_processes(platform: BuildPlatform) -> None:
    app = platform.app("classic")
    files = {
        "app.txt": "hello",
        "app.json": json.dumps({"buildpacks": [{"url": "./packs/first"}, {"url": "packs/second.tgz"}]}),
        "packs/second.tgz": archive(compile=SECOND, release=RELEASE, detect="#!/bin/sh\necho Second\n"),
        **FIRST,
    }
    image = platform.build(app, files, config={"GREETING": "it's me"})
    assert image.processes == {"web": "tool --port $PORT", "worker": "tool"}
    assert image.env["A"] == "b" and image.env["PATH"] != "/x"
    assert "       Defaults of the environment -> A" in platform.lines
    (path, addons) = (line for line in platform.lines if line.startswith(" !     bin/release"))
    assert (
        "PATH, which the platform sets" in path and "heroku-postgresql:mini; name their addresses" in addons
    )
    said = [line.strip() for line in platform.lines]
    assert [line for line in said if line.endswith(("tgz", "nothing", "second: tool", "first"))] == [
        "-----> Running the buildpacks ./packs/first, packs/second.tgz",
        "First app, by the buildpack ./packs/first",
        "cached: nothing",
        "Second app, by the buildpack packs/second.tgz",
        "second: tool",
    ]
    assert "Default types for Buildpack -> web, worker" in said
    layer = platform.layout.layers / image.layers[-1].removeprefix("sha256:") / "app"
    assert "GREETED='it's me'" in (layer / ".profile.d/tool.sh").read_text()
    assert (layer / "vendor/tool/bin/tool").stat().st_uid == 1000
    platform.build(app, {**files, "other.txt": "x", "Procfile": "web: mine\n"}, config={"GREETING": "x"})
    assert "       cached: once" in platform.lines


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        ({"detect": "#!/bin/sh\nexit 1\n", "compile": "#!/bin/sh\n"}, "the buildpack packs/one does not fit"),
        (
            {"compile": "#!/bin/sh\necho no; exit 7\n"},
            "bin/compile of the buildpack packs/one ended with status 7",
        ),
        ({"compile": "#!/bin/sh\n"}, "says nothing about what to run"),
        (
            {"compile": "#!/bin/sh\nprintf 'Web App: x\\n' >$1/Procfile\n"},
            "The processes that the buildpack names",
        ),
    ],
)
def test_a_buildpack_that_fails_is_named(platform: BuildPlatform, pack: dict[str, str], message: str) -> None:
    files = {f"packs/one/bin/{name}": text for name, text in pack.items()}
    with pytest.raises(BuildFailed) as failed:
        platform.build(
            platform.app(f"fails-{abs(hash(message + str(pack))) % 10**8}"),
            {**files, ".buildpacks": "packs/one\n"},
        )
    assert message in failed.value.message, platform.lines


def test_what_compile_writes_as_procfile_counts(platform: BuildPlatform) -> None:
    files = {
        "packs/one/bin/compile": "#!/bin/sh\ncp $1/deploy/Procfile $1\n",
        "deploy/Procfile": "# x\nclock: sleep 9\n",
    }
    image = platform.build(platform.app("copied"), {**files, ".buildpacks": "# ours\npacks/one\n"})
    assert image.processes == {"clock": "sleep 9"}


def test_an_archive_at_an_address_is_fetched_and_unpacked(platform: BuildPlatform) -> None:
    registry = subprocess.check_output(["npm", "config", "get", "registry"], text=True).strip().rstrip("/")
    address = f"{registry}/ms/-/ms-2.1.3.tgz"
    with pytest.raises(BuildFailed) as failed:
        platform.build(
            platform.app("fetched"), {"a": "", ".buildpacks": f"{address}\n", "Procfile": "web: x\n"}
        )
    assert "neither bin/compile nor buildpack.toml" in failed.value.message, platform.lines


@pytest.mark.long
def test_an_address_that_leads_nowhere_is_named_without_its_login(platform: BuildPlatform) -> None:
    files = {"a": "", ".buildpacks": "https://me:secret@127.0.0.1:9/pack.git#v1\n", "Procfile": "web: x\n"}
    with pytest.raises(BuildFailed) as failed:
        platform.build(platform.app("nowhere"), files)
    assert failed.value.message.endswith("the buildpack 127.0.0.1:9/pack.git#v1 cannot be fetched")
    assert "secret" not in "".join(platform.lines) + failed.value.message
