"""Bun and Deno: when they are taken, what they install, and what they run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.sources import DictTree

from buildpacks.detect import choose
from buildpacks.plan import Plan, Step


def planned(files: dict[str, str], **package: Any) -> Plan:
    return choose(DictTree({**({"package.json": json.dumps(package)} if package else {}), **files}))


def step(result: Plan, name: str) -> Step:
    return next(step for step in result.steps if step.name == name)


@pytest.mark.parametrize(
    ("files", "package", "language"),
    [
        ({"bun.lock": ""}, {"name": "x"}, "Bun"),
        ({"bun.lockb": ""}, {"name": "x"}, "Bun"),
        ({}, {"packageManager": "bun@1.2.0"}, "Bun"),
        ({"bun.lock": "", "package-lock.json": "{}"}, {"name": "x"}, "Node"),
        ({"bun.lock": "", "package-lock.json": "{}"}, {"packageManager": "bun@1.2.0"}, "Bun"),
        ({"deno.json": "{}"}, {}, "Deno"),
        ({"deno.lock": "{}"}, {"name": "x"}, "Deno"),
        ({"deno.json": "{}"}, {"name": "x"}, "Node"),
        ({"deno.json": "{}", "yarn.lock": ""}, {"name": "x"}, "Node"),
        ({"bun.lock": "", "requirements.txt": "x", "Procfile": "web: bun x.ts"}, {"name": "x", "scripts": {"start": "x"}}, "Bun"),
    ],
)  # fmt: skip
def test_a_lock_or_a_configuration_chooses(
    files: dict[str, str], package: dict[str, Any], language: str
) -> None:
    assert planned(files, **package).language == language


@pytest.mark.parametrize(
    ("files", "package", "web"),
    [
        ({"bun.lock": ""}, {"scripts": {"start": "bun x.ts"}}, "bun run start"),
        ({"bun.lock": "", "server.js": ""}, {"name": "x"}, "bun server.js"),
        ({"bun.lock": "", "index.ts": "Bun.serve({})"}, {"module": "index.ts"}, "bun index.ts"),
        ({"bun.lock": ""}, {"scripts": {"start": "vite", "build": "vite build"}}, ".paas/web"),
        ({"deno.json": '{"tasks": {"start": "x"}}'}, {}, "DENO_SERVE_ADDRESS=tcp:0.0.0.0:$PORT deno task start"),
        ({"deno.jsonc": "{} // none", "main.ts": "Deno.serve(f)"}, {}, "DENO_SERVE_ADDRESS=tcp:0.0.0.0:$PORT deno run -A main.ts"),
        ({"deno.json": "{}", "main.ts": "export default { fetch() {} }"}, {}, "deno serve -A --host 0.0.0.0 --port $PORT main.ts"),
        ({"deno.json": '{"tasks": {"build": "x"}}', "src/main.ts": "mount(document)"}, {}, "DENO_SERVE_ADDRESS=tcp:0.0.0.0:$PORT .paas/web"),
        ({"deno.json": '{"tasks": {"build": "x"}}', "main.ts": "Deno.serve(f)"}, {}, "DENO_SERVE_ADDRESS=tcp:0.0.0.0:$PORT deno run -A main.ts"),
    ],
)  # fmt: skip
def test_the_web_process_is_found(files: dict[str, str], package: dict[str, Any], web: str) -> None:
    assert planned(files, **package).default_processes == {"web": web}


def test_bun_installs_its_lock_and_builds_with_its_own_scripts() -> None:
    result = planned({"bun.lock": ""}, packageManager="bun@1.2.3", scripts={"start": "x", "build": "y"})
    assert [step.name for step in result.steps] == ["Bun", "dependencies", "libraries", "build"]
    assert step(result, "Bun").title == "Fetching Bun 1.2.3"
    assert "attempt bun install --frozen-lockfile --omit=dev || status" in step(result, "dependencies").script
    assert "\nbun run build\n" in step(result, "build").script


def test_deno_installs_without_the_code_and_caches_what_the_code_imports() -> None:
    result = planned({"deno.json": '{"tasks": {"build": "x"}}', "deno.lock": "{}", "main.ts": ""})
    install = step(result, "dependencies")
    assert (install.source, install.inputs) == (False, ("deno.json", "deno.lock"))
    assert "attempt deno install --frozen || status" in install.script
    assert "deno cache main.ts\ndeno task build\n" in step(result, "build").script
    assert result.env["DENO_DIR"] == "/app/.deno"
