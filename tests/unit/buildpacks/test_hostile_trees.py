"""Whatever a repository holds, reading it ends in a plan or in one clear refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.sources import DictTree
from hypothesis import given, settings
from hypothesis import strategies as st

from buildpacks.detect import choose
from buildpacks.plan import BuildRefused, Plan
from paas.manifest.appjson import parse_app_json
from paas.manifest.procfile import parse_procfile
from paas.nouns.errors import BadInput

FILES = (
    "requirements.txt", "pyproject.toml", "uv.lock", ".python-version", "runtime.txt", "manage.py", "app.py",
    "package.json", "package-lock.json", ".npmrc", ".nvmrc", "Staticfile", "index.html", "Procfile", "poetry.lock",
    "Aptfile", "project.toml", "composer.json", "composer.lock", "Gemfile", "Gemfile.lock", "pom.xml", "build.gradle", "system.properties",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
WORDS = st.sampled_from(
    ["scripts", "dependencies", "devDependencies", "engines", "node", "start", "build", "postinstall", "workspaces",
     "env", "formation", "healthchecks", "web", "quantity", "memory", "cpu", "path", "port", "value", "generator",
     "buildpacks", "url", "packages", "integrity", "file:x", ">=18", "20.x", "*", "secret"]
)  # fmt: skip
SHAPED = st.recursive(
    WORDS | st.integers(-5, 70000) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
TEXT = st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))


def planned(files: dict[str, bytes]) -> Plan | None:
    try:
        return choose(DictTree(files))
    except BuildRefused as refusal:
        assert refusal.message
        assert "\n" not in refusal.message
        return None


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(FILES), TEXT, min_size=1, max_size=6))
def test_any_bytes_in_known_files(files: dict[str, bytes]) -> None:
    planned(files)


@settings(max_examples=300)
@given(SHAPED | JSON, st.none() | SHAPED)
def test_any_json_as_package_and_lock(package: Any, lock: Any) -> None:
    files = {"package.json": json.dumps(package).encode()}
    if lock is not None:
        files["package-lock.json"] = json.dumps(lock).encode()
    plan = planned(files)
    if plan is not None:
        assert all(
            step.onto == () or set(step.onto) <= {other.name for other in plan.steps} for step in plan.steps
        )


@settings(max_examples=300)
@given(st.lists(st.text(alphabet="-rce =~<>.;#@[]\\/:abz09$(){}'\"&|", max_size=30), max_size=6))
def test_any_lines_as_requirements(lines: list[str]) -> None:
    plan = planned({"requirements.txt": "\n".join(lines).encode()})
    if plan is not None:
        for step in plan.steps:
            assert not any(line.strip() in step.script for line in lines if len(line.strip()) > 8)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_as_procfile(data: bytes) -> None:
    try:
        types = parse_procfile(data)
    except BadInput as error:
        assert error.message.isprintable()
    else:
        assert all(types.values())


@settings(max_examples=300)
@given(st.binary(max_size=300) | (SHAPED | JSON).map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_app_json(data: bytes) -> None:
    try:
        manifest = parse_app_json(data)
    except BadInput as error:
        assert error.message.isprintable()
    else:
        json.dumps(manifest.to_json())


@pytest.mark.parametrize("depth", [100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    for path in ("package.json", "package-lock.json"):
        files = {"package.json": b"{}", path: b'{"a":' * depth}
        assert planned(files) is None or path == "package-lock.json"
    assert planned({"pyproject.toml": b"a = " + b"[" * depth}) is None
