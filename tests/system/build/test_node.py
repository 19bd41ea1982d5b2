"""Node apps of many shapes: what is installed, what is built, and what answers."""

from __future__ import annotations

import json

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
