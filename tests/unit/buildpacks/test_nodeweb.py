"""What serves a Node app: decided from the source where that is enough, else by looking at what the build made."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness.sources import DictTree

from buildpacks.detect import choose
from buildpacks.failurehint import named_cause
from buildpacks.node import plan
from buildpacks.nodeweb import FAILURE_HINTS
from buildpacks.plan import Plan

EXPRESS = "require('express')().listen(process.env.PORT)\n"
BUILD = {"build": "make"}


def planned(package: dict[str, Any], files: dict[str, str] | None = None) -> Plan:
    return plan(DictTree({"package.json": json.dumps(package), **(files or {})}))


@pytest.mark.parametrize(
    ("package", "files", "web"),
    [
        ({"scripts": {"start": "node a.js"}, "main": "b.js"}, {"b.js": EXPRESS}, "npm start"),
        ({"scripts": {"start": "next start", **BUILD}}, {}, "npm start"),
        ({}, {"server.js": EXPRESS}, "npm start"),
        ({"main": "lib/app"}, {"lib/app.js": EXPRESS, "index.js": "", "index.html": ""}, "node lib/app.js"),
        ({"main": "script.js"}, {"script.js": "alert(1)", "index.html": ""}, ".paas/serve =404 ."),
        ({}, {"public/index.html": "", "test.js": ""}, ".paas/serve =404 public"),
        ({}, {"Staticfile": "root: site", "site/index.html": ""}, ".paas/serve =404 site"),
        ({}, {"index.js": "require('./app')"}, "node index.js"),
        ({"main": "it's.js"}, {"it's.js": EXPRESS}, """node 'it'"'"'s.js'"""),
        ({"scripts": BUILD}, {"public/index.html": ""}, ".paas/web"),
        ({"scripts": {"start": "react-scripts start", **BUILD}}, {}, ".paas/web"),
        ({"scripts": {"start": "vite --host", **BUILD}}, {}, ".paas/web"),
        ({"scripts": {"start": "cross-env A=1 ng serve", **BUILD}}, {}, ".paas/web"),
        ({"scripts": {"start": "nest start", **BUILD}}, {}, ".paas/web"),
        ({"scripts": {"start": "nest start", "start:prod": "node dist/main", **BUILD}}, {}, "npm run start:prod"),
        ({"scripts": {"start": "node a.js", "start:prod": "node dist/main", **BUILD}}, {}, "npm start"),
        ({"scripts": {"start": "vite-node server.ts", **BUILD}}, {}, "npm start"),
        ({"scripts": {"start": "react-scripts start"}}, {}, "npm start"),
        ({"scripts": {"start": "next start", **BUILD}}, {"next.config.mjs": "export default { output: 'export' }"}, ".paas/web"),
        ({"scripts": {"start": "next start", **BUILD}}, {"next.config.mjs": "export default { output: 'standalone' }"}, "npm start"),
    ],
)  # fmt: skip
def test_the_web_process_is_what_serves(package: dict[str, Any], files: dict[str, str], web: str) -> None:
    assert planned(package, files).default_processes == {"web": web}


def test_what_says_nothing_gets_no_web_process() -> None:
    assert planned({"main": "missing.js"}, {"README": ""}).default_processes == {}


def test_the_push_says_why_a_start_script_is_not_used() -> None:
    notes = planned({"scripts": {"start": "vite", "build": "vite build"}}).notes
    assert "npm start is a server for development (vite): what the build makes is served" in notes
    notes = planned(
        {"scripts": {"start": "nest start", "start:prod": "node dist/main", "build": "nest build"}}
    ).notes
    assert "npm start is a server for development (nest start): start:prod serves" in notes


def test_a_procfile_leaves_out_the_look_and_its_command() -> None:
    tree = DictTree({"package.json": json.dumps({"scripts": BUILD})})
    for processes in ({"web": "node x.js"}, {"worker": "node x.js"}):
        result = choose(tree, processes)
        assert [step.name for step in result.steps] == ["node", "dependencies", "libraries", "build"]
        assert result.default_processes == {}
    assert choose(tree, {"release": "x"}).default_processes == {"web": ".paas/web"}


def looked(
    app: Path, package: dict[str, Any], made: dict[str, str], source: dict[str, str] | None = None
) -> tuple[str, str]:
    """What the look leaves in `.paas/web`, and what it prints."""
    for path, text in {**(source or {}), **made}.items():
        (app / path).parent.mkdir(parents=True, exist_ok=True)
        (app / path).write_text(text)
    script = planned({"scripts": BUILD, **package}, source).steps[-1].script
    done = subprocess.run(["bash", "-ec", script], cwd=app, capture_output=True, text=True)
    command = app / ".paas" / "web"
    assert (done.returncode == 0) == command.exists(), done
    return command.read_text().removeprefix(
        "#!/bin/bash\nexec "
    ).rstrip() if command.exists() else "", done.stdout


SERVES = "server.listen(port)"


@pytest.mark.parametrize(
    ("package", "made", "web"),
    [
        ({}, {".output/server/index.mjs": "", ".output/public/index.html": "", "public/robots.txt": ""}, "node .output/server/index.mjs"),
        ({}, {".output/public/index.html": "", ".output/public/404.html": ""}, ".paas/serve =404 .output/public"),
        ({}, {"dist/server/entry.mjs": "", "dist/client/index.html": ""}, "env HOST=${HOST:-0.0.0.0} node dist/server/entry.mjs"),
        ({}, {"build/index.js": "", "build/handler.js": "", "build/client/a": ""}, "node build/index.js"),
        ({}, {".next/BUILD_ID": "", "node_modules/.bin/next": ""}, "next start --port ${PORT:-3000}"),
        ({}, {".next/BUILD_ID": "", "out/index.html": "", "out/404.html": ""}, ".paas/serve =404 out"),
        ({}, {"build/server/index.js": SERVES, "node_modules/.bin/react-router-serve": ""}, "react-router-serve build/server/index.js"),
        ({}, {"build/server/index.js": SERVES, "node_modules/.bin/remix-serve": ""}, "remix-serve build/server/index.js"),
        ({}, {"dist/my shop/server/server.mjs": "", "dist/my shop/browser/index.html": ""}, r"node dist/my\ shop/server/server.mjs"),
        ({}, {"dist/shop/browser/index.html": ""}, ".paas/serve /index.html dist/shop/browser"),
        ({}, {"dist/index.html": "", "public/index.html": ""}, ".paas/serve /index.html dist"),
        ({}, {"build/index.html": "", "build/200.html": ""}, ".paas/serve /200.html build"),
        ({}, {"dist/index.html": "", "dist/main.js": "history.listen(x)"}, ".paas/serve /index.html dist"),
        ({"main": "dist/api.js"}, {"dist/api.js": SERVES, "public/index.html": ""}, "node dist/api.js"),
        ({"main": "dist/api"}, {"dist/api.js": "import('./other.js')"}, "node dist/api.js"),
        ({"main": "dist/lib.js"}, {"dist/lib.js": "", "public/index.html": ""}, ".paas/serve /index.html public"),
        ({}, {"dist/main.js": "await app.listen(3000)"}, "node dist/main.js"),
    ],
)  # fmt: skip
def test_what_the_build_made_is_found(
    tmp_path: Path, package: dict[str, Any], made: dict[str, str], web: str
) -> None:
    assert looked(tmp_path, package, made)[0] == web


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ({"vite.config.ts": "export default { build: { outDir: './web/app' } }"}, "web/app"),
        ({"Staticfile": "root: site\n"}, "site"),
    ],
)
def test_a_folder_that_the_source_names_comes_first(
    tmp_path: Path, source: dict[str, str], folder: str
) -> None:
    made = {f"{folder}/index.html": "", "dist/index.html": ""}
    assert looked(tmp_path, {}, made, source)[0] == f".paas/serve /index.html {folder}"


@pytest.mark.parametrize(
    ("made", "cause"),
    [
        ({".output/x.js": "", "public/a.css": ""}, "no site with an index.html (folders: .output public"),
        ({".next/BUILD_ID": ""}, "not among the dependencies (next)"),
        ({"build/server/index.js": ""}, "not among the dependencies (react-router-serve remix-serve)"),
    ],
)
def test_what_has_no_index_and_no_known_server_is_refused(
    tmp_path: Path, made: dict[str, str], cause: str
) -> None:
    command, printed = looked(tmp_path, {}, made)
    told = named_cause(FAILURE_HINTS, printed.splitlines())
    assert command == ""
    assert told is not None
    assert cause in told[0]


@pytest.mark.parametrize("folder", ["$(touch x)", "a'b", "../up", "/etc"])
def test_a_folder_named_by_a_stranger_is_no_code(tmp_path: Path, folder: str) -> None:
    source = {"vite.config.js": f'outDir: "{folder}"', "Staticfile": f"root: {folder}\n"}
    looked(tmp_path, {"main": folder}, {"dist/index.html": ""}, source)
    assert not (tmp_path / "x").exists()
