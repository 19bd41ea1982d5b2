"""Node apps of many shapes: what is installed, what is built, and what answers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from harness.builder import BuildPlatform
from harness.serving import serving

from paas.nouns.errors import BuildFailed

SERVER = (
    'import http from "node:http";\nimport fs from "node:fs";\n'
    'http.createServer((_, answer) => answer.end(fs.readFileSync("public/a.txt"))).listen(process.env.PORT, "0.0.0.0");\n'
)


def app_of(scripts: dict[str, str], **more: object) -> str:
    return json.dumps({"name": "x", "version": "1.0.0", "scripts": scripts, **more})


def test_what_a_build_made_is_what_is_served(platform: BuildPlatform) -> None:
    app = platform.app("built")
    make = "mkdir -p .output/server && cp server.mjs .output/server/index.mjs"
    files: dict[str, str | bytes] = {"server.mjs": SERVER, "public/a.txt": "from the server"}
    image = platform.build(app, {**files, "package.json": app_of({"build": make})})
    assert "       web runs: node .output/server/index.mjs" in platform.lines
    with serving(platform, app, image) as get:
        assert get("/").read() == b"from the server"
    make = "mkdir -p build && echo home > build/index.html && echo about > build/about.html && echo none > build/404.html"
    with serving(
        platform, app, platform.build(app, {**files, "package.json": app_of({"build": make})})
    ) as get:
        assert get("/").read() == b"home\n"
        assert get("/about").read() == b"about\n"
        assert (get("/nowhere").status, get("/nowhere").read()) == (404, b"none\n")
    make = "mkdir -p dist && echo single > dist/index.html"
    with serving(
        platform, app, platform.build(app, {**files, "package.json": app_of({"build": make})})
    ) as get:
        assert get("/deep/link").read() == b"single\n"


@pytest.mark.parametrize("files", [{}, {"public/a.txt": "x"}])
def test_a_build_that_made_nothing_to_serve_is_refused(
    platform: BuildPlatform, files: dict[str, str]
) -> None:
    package = {"package.json": app_of({"build": "mkdir -p .output/x && touch .output/x/y"})}
    with pytest.raises(BuildFailed, match=r"no site with an index\.html \(folders: \.output") as caught:
        platform.build(platform.app(f"nothing{len(files)}"), {**package, **files})
    assert 'Write what to run: "start"' in caught.value.hint
    image = platform.build(
        platform.app(f"told{len(files)}"),
        {"package.json": app_of({"build": "true", "start": "node server.mjs"}), "server.mjs": SERVER},
    )
    assert image.processes["web"] == "npm start"


MS = "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA=="
YARN_LOCK = f"""# yarn lockfile v1


ms@2.1.3:
  version "2.1.3"
  resolved "https://registry.yarnpkg.com/ms/-/ms-2.1.3.tgz#574c8138ce1d2b5861f0b44579dbadd60c6615b2"
  integrity {MS}
"""
PNPM_LOCK = f"""lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

importers:

  .:
    dependencies:
      ms:
        specifier: 2.1.3
        version: 2.1.3

packages:

  ms@2.1.3:
    resolution: {{integrity: {MS}}}

snapshots:

  ms@2.1.3: {{}}
"""
ANSWER = (
    'const ms = require("ms");\n'
    'require("http").createServer((_, answer) => answer.end(ms(60000))).listen(process.env.PORT, "0.0.0.0");\n'
)
UNFIT = "does not fit package.json: "


@pytest.mark.parametrize(
    ("lock", "text", "unfit"),
    [("yarn.lock", YARN_LOCK, "# yarn lockfile v1\n"), ("pnpm-lock.yaml", PNPM_LOCK, PNPM_LOCK.replace("specifier: 2.1.3", "specifier: ^2.0.0")),
     ("package-lock.json", "", '{"lockfileVersion": 3, "packages": {"": {}}}')],
)  # fmt: skip
def test_each_package_manager_installs_from_its_lock_or_says_loudly_that_it_does_not_fit(
    platform: BuildPlatform, lock: str, text: str, unfit: str
) -> None:
    app = platform.app(lock.partition(".")[0].replace("-", ""))
    package = app_of({"start": "node answer.js"}, dependencies={"ms": "2.1.3"})
    files: dict[str, str | bytes] = {"package.json": package, "answer.js": ANSWER}
    if text:
        with serving(platform, app, platform.build(app, {**files, lock: text})) as get:
            assert get("/").read() == b"1m"
        assert not any(UNFIT in line for line in platform.lines)
        platform.build(app, {**files, lock: text, "answer.js": ANSWER + "// changed\n"})
        assert "-----> Restoring cache: dependencies unchanged, layer reused" in platform.lines
    with serving(platform, app, platform.build(app, {**files, lock: unfit})) as get:
        assert get("/").read() == b"1m"
    assert [line[:7] for line in platform.lines if UNFIT in line] == [" !     "]


def test_yarn_of_today_installs_a_workspace_which_code_does_not_install_again(
    platform: BuildPlatform,
) -> None:
    app = platform.app("workspace")
    root = {
        "private": True,
        "workspaces": ["packages/*"],
        "packageManager": "yarn@4.18.1",
        "dependencies": {"words": "workspace:*"},
    }
    words = {"name": "words", "version": "1.0.0", "main": "index.js", "dependencies": {"ms": "2.1.3"}}
    files: dict[str, str | bytes] = {
        "package.json": app_of({"start": "node answer.js"}, **root),
        "yarn.lock": "",
        "packages/words/package.json": json.dumps(words),
        "packages/words/index.js": 'module.exports = require("ms");\n',
        "answer.js": ANSWER.replace('"ms"', '"words"'),
    }
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/").read() == b"1m"
    platform.build(app, {**files, "packages/words/index.js": 'module.exports = () => "changed";\n'})
    assert "-----> Restoring cache: dependencies unchanged, layer reused" in platform.lines


def test_what_a_build_caches_is_there_for_the_next_and_not_in_the_image(platform: BuildPlatform) -> None:
    app = platform.app("cached")
    build = "ls node_modules/.cache || true; mkdir -p node_modules/.cache .next/cache; touch node_modules/.cache/seen"
    files: dict[str, str | bytes] = {
        "package.json": app_of({"build": build, "start": "node answer.js"}),
        "answer.js": "1",
    }
    platform.build(app, files)
    assert "       seen" not in platform.lines
    image = platform.build(app, {**files, "answer.js": "2"})
    assert "       seen" in platform.lines
    layers = [platform.layout.layers / digest.removeprefix("sha256:") for digest in image.layers]
    assert not any((layer / "app" / "node_modules" / ".cache" / "seen").exists() for layer in layers)


def test_an_old_node_runs_on_the_oldest_that_is_offered(platform: BuildPlatform) -> None:
    app = platform.app("old")
    package = app_of({"start": "node answer.js"}, engines={"node": "4.2.x"}, dependencies={"ms": "2.1.3"})
    files: dict[str, str | bytes] = {
        "package.json": package,
        "answer.js": ANSWER,
        ".npmrc": "engine-strict=true\n",
    }
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/").read() == b"1m"


def test_bun_installs_and_serves(platform: BuildPlatform) -> None:
    app = platform.app("bun")
    code = (
        'import ms from "ms";\nBun.serve({ port: process.env.PORT, fetch: () => new Response(ms(60000)) });\n'
    )
    lock = {
        "lockfileVersion": 1,
        "workspaces": {"": {"name": "x", "dependencies": {"ms": "2.1.3"}}},
        "packages": {"ms": ["ms@2.1.3", "", {}, MS]},
    }
    files: dict[str, str | bytes] = {
        "package.json": app_of({}, module="index.ts", dependencies={"ms": "2.1.3"}),
        "bun.lock": json.dumps(lock),
        "index.ts": code,
    }
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/").read() == b"1m"
    assert not any(UNFIT in line for line in platform.lines)
    lock["packages"] = {}
    lock["workspaces"] = {"": {"name": "x"}}
    with serving(platform, app, platform.build(app, {**files, "bun.lock": json.dumps(lock)})) as get:
        assert get("/").read() == b"1m"
    assert [line[:7] for line in platform.lines if UNFIT in line] == [" !     "]


@pytest.mark.parametrize(
    ("made", "text", "web", "said"),
    [
        ("_site/index.html", "made", ".paas/serve /index.html _site", b"made"),
        ("dist/server/index.js", "Deno.serve(() => new Response('served'));", "deno run -A dist/server/index.js", b"served"),
    ],
)  # fmt: skip
def test_what_a_build_task_of_deno_made_is_what_is_served(
    platform: BuildPlatform, made: str, text: str, web: str, said: bytes
) -> None:
    app = platform.app(f"deno-{made[1:4]}")
    code = f'await Deno.mkdir("{made.rpartition("/")[0]}", {{recursive: true}});\nawait Deno.writeTextFile("{made}", "{text}");\n'
    files: dict[str, str | bytes] = {
        "deno.json": '{"tasks": {"build": "deno run -A make.ts"}}',
        "make.ts": code,
    }
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/").read() == said
    assert f"       web runs: {web}" in platform.lines


def test_deno_installs_and_serves_without_the_network(platform: BuildPlatform) -> None:
    app = platform.app("deno")
    code = 'import ms from "ms";\nDeno.serve(() => new Response(ms(60000)));\n'
    files: dict[str, str | bytes] = {
        "deno.json": '{"imports": {"ms": "npm:ms@2.1.3"}}',
        "main.ts": code,
    }
    lock = {
        "version": "5",
        "specifiers": {"npm:ms@2.1.3": "2.1.3"},
        "npm": {"ms@2.1.3": {"integrity": MS}},
        "workspace": {"dependencies": ["npm:ms@2.1.3"]},
    }
    files["deno.lock"] = json.dumps(lock)
    image = platform.build(app, files)
    assert not any(UNFIT in line for line in platform.lines)
    image = replace(
        image, processes={"web": image.processes["web"].replace("deno run", "deno run --cached-only")}
    )
    with serving(platform, app, image) as get:
        assert get("/").read() == b"1m"
    platform.build(app, {**files, "main.ts": code + "// changed\n"})
    assert "-----> Restoring cache: dependencies unchanged, layer reused" in platform.lines
