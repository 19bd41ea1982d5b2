from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest

from paas.manifest.appjson import AppManifest, EnvVar, FormationDefault, HealthCheck, parse_app_json
from paas.manifest.jsonvalues import RELAXED
from paas.nouns.errors import BadInput
from paas.nouns.names import LIMITS, limit_word, shown_limit


def parse(value: Any) -> AppManifest:
    return parse_app_json(json.dumps(value).encode())


def test_empty_object_is_an_app_without_wishes() -> None:
    assert parse({}) == AppManifest()


def test_every_known_key_is_read() -> None:
    manifest = parse(
        {
            "name": "x",
            "env": {
                "A": "1",
                "B": {"value": "two", "required": False, "description": "d"},
                "SECRET_KEY": {"generator": "secret"},
            },
            "formation": {"web": {"quantity": 2, "memory": "256M", "cpu": 0.5, "pids": 100}, "worker": {}},
            "healthchecks": {
                "web": [{"type": "startup", "path": "/ready?x=1", "attempts": 5, "timeout": 2, "wait": 0.5}],
                "worker": [{"listening": True, "port": 9000}],
            },
            "buildpacks": [{"url": "heroku/python"}, "node"],
        }
    )
    assert manifest.env["A"] == EnvVar("1")
    assert manifest.env["B"] == EnvVar("two", False, "", "d")
    assert manifest.env["SECRET_KEY"].generator == "secret"
    assert manifest.formation["web"] == FormationDefault(
        2, {"memory_bytes": 256 << 20, "cpu_millis": 500, "pids": 100}
    )
    assert manifest.formation["worker"] == FormationDefault()
    assert manifest.healthchecks["web"] == (HealthCheck("startup", "", "/ready?x=1", None, 5, 2.0, 0.5),)
    assert manifest.healthchecks["worker"][0].listening
    assert manifest.healthchecks["worker"][0].port == 9000
    assert manifest.buildpacks == ("heroku/python", "node")
    assert manifest.warnings == ()


def test_what_is_kept_with_an_image_reads_back_the_same() -> None:
    manifest = parse(
        {
            "env": {"A": {"required": False}},
            "formation": {"web": {"quantity": 3, "memory": 64 << 20}},
            "healthchecks": {"web": [{"path": "/h"}]},
            "scripts": {"postdeploy": "x", "paas": {"predeploy": "y"}},
            "stack": "debian-12",
        }
    )
    kept = json.loads(json.dumps(manifest.to_json()))
    back = AppManifest.from_json(kept)
    assert back == AppManifest(**{**manifest.__dict__, "warnings": ()})
    assert AppManifest.from_json({}) == AppManifest()


def test_unknown_and_unused_keys_are_warnings_that_name_them() -> None:
    warnings = parse(
        {
            "colour": "red",
            "cron": [{"command": "x", "schedule": "* * * * *"}],
            "addons": [],
            "env": {"A": {"valeu": "x"}},
            "formation": {"web": {"size": "standard-1x"}},
            "healthchecks": {"web": [{"uptime": 3, "retries": 1}]},
            "scripts": {"paas": {"prebuild": "x", "predeploy": "y"}},
        }
    ).warnings
    text = "\n".join(warnings)
    for named in (
        "colour is not a known key", "cron is not acted upon", "env.A.valeu", "formation.web.size is ignored",
        "healthchecks.web[0].uptime", "healthchecks.web[0].retries", "scripts.paas.prebuild",
    ):  # fmt: skip
        assert named in text
    assert "addons" not in text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{\n  "env": {},,\n}', "app.json line 2, column 13"),
        (b"{ # comment\n}", "app.json line 1, column 3"),
        (b"{ /* comment }", "app.json line 1, column 3"),
        (b"", "line 1, column 1"),
        (b"[]", "app.json: [] is not an object"),
        (b'{"a": 1}\n{"b": 2}', "line 2, column 1: Extra data"),
        (b'{"env": {}, "env": {}}', "the key env appears twice"),
        (b'{"x": NaN}', "NaN is not a JSON value"),
        (b'{"x": -Infinity}', "-Infinity is not a JSON value"),
        (b"{\n\xff}", "line 2: is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"x": ' + b"9" * 5000 + b"}", "app.json: "),
        (b" " * (256 * 1024 + 1), "at most"),
    ],
)
def test_malformed_file_is_refused_and_the_place_is_named(data: bytes, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_app_json(data)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"env": {"A B": "x"}}, "env: 'A B' is not a config var name"),
        ({"env": {"HOME": "/tmp"}}, "env: HOME is set by the platform"),
        ({"env": {"PATH": {"required": False}}}, "env: PATH is set by the platform"),
        ({"env": {"A": "x" * 40_000}}, "env.A has 40000 bytes"),
        ({"env": {"A": None}}, "env.A: null is neither text nor an object"),
        ({"env": {"A": {"value": "a\0b"}}}, "env.A.value"),
        ({"env": {"A": {"required": "maybe"}}}, 'env.A.required: "maybe" is not true or false'),
        ({"env": {"A": {"generator": "uuid"}}}, 'env.A.generator: "uuid" is not "secret"'),
        ({"formation": {"web": 2}}, "formation.web: 2 is not an object"),
        ({"formation": {"we b": {}}}, "formation: 'we b' is not a process type"),
        ({"formation": {"web": {"quantity": -1}}}, "formation.web.quantity: -1"),
        ({"formation": {"web": {"quantity": True}}}, "formation.web.quantity: true"),
        (
            {"formation": {"web": {"memory": "lots"}}},
            "formation.web.memory: 'lots' is not an amount of memory",
        ),
        ({"formation": {"web": {"quantity": "2"}}}, "formation.web.quantity: '2' is not a quantity"),
        ({"formation": {"web": {"cpu": True}}}, "formation.web.cpu: 'true' is not an amount of cpu"),
        ({"formation": {"web": {"pids": "64"}}}, "formation.web.pids: pids cannot be '64'"),
        ({"healthchecks": {"web": {}}}, "is not a list of objects"),
        ({"healthchecks": {"web": [{"path": "health"}]}}, 'healthchecks.web[0].path: "health"'),
        ({"healthchecks": {"web": [{"path": "/a b"}]}}, "contains a space"),
        ({"healthchecks": {"web": [{"path": "/a\r\nX: y"}]}}, "healthchecks.web[0].path"),
        ({"healthchecks": {"web": [{"type": "start"}]}}, "is not startup, readiness or liveness"),
        ({"healthchecks": {"web": [{"port": 70000}]}}, "whole number from 1 to 65535"),
        ({"healthchecks": {"web": [{"timeout": "soon"}]}}, "healthchecks.web[0].timeout"),
        ({"scripts": {"postdeploy": ["x"]}}, "scripts.postdeploy"),
        ({"scripts": {"paas": {"predeploy": " "}}}, "scripts.paas.predeploy"),
        ({"buildpacks": {"url": "x"}}, "buildpacks"),
        ({"buildpacks": [{}]}, 'is not {"url": NAME}'),
        ({"stack": 12}, "stack: 12 is not text"),
    ],
)
def test_value_that_breaks_a_rule_is_refused_and_named(value: Any, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(value)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("key", "word"), [("memory_bytes", "memory"), ("cpu_millis", "cpu"), ("pids", "pids")]
)
def test_limits_are_those_that_can_be_typed(key: str, word: str) -> None:
    lowest, highest, name, _ = LIMITS[key]
    assert name == word
    for value in (lowest, highest):
        written = value / 1000 if word == "cpu" else value
        limits = parse({"formation": {"web": {word: written}}}).formation["web"].limits
        assert limits == {key: value} == dict([limit_word(f"{word}={shown_limit(key, value)}")])
    for value in (lowest - 1, highest + 1):
        written = value / 1000 if word == "cpu" else value
        with pytest.raises(BadInput, match=f"app.json: formation.web.{word}: {word} cannot be"):
            parse({"formation": {"web": {word: written}}})


def test_comments_and_trailing_commas_are_read_with_a_warning() -> None:
    text = b'{\n  // for tests\n  "env": {"A": "1",}, /* more */ "formation": {"web": {"quantity": 2,},},\n}'
    manifest = parse_app_json(text)
    assert (manifest.env["A"].value, manifest.formation["web"].quantity) == ("1", 2)
    assert manifest.warnings == (RELAXED,)


@pytest.mark.parametrize(
    "text",
    [
        "/" + "[" * 200_000, "/**/" + '{"a":' * 50_000, "/*x*/" * 50_000, "//" + " " * 200_000, "/**/" + "9" * 200_000,
        '{a: "' + "\\" * 200_000, "/**/[" + "1," * 100_000 + "]", "{" + ",".join(f"k{i}:{{}}" for i in range(20_000)) + "}",
        "{a: NaN}", "{a: Infinity}", "{formation: {web: {quantity: Infinity}}}", "{env: {A: 0x10}}",
        "{stack: 0x" + "f" * 9000 + "}",
    ],
)  # fmt: skip
def test_hostile_json5_costs_no_more_than_an_ordinary_file_and_raises_nothing_else(text: str) -> None:
    ordinary = "/**/{env: {" + ",".join(f"K{i}: 'a value'" for i in range(10_000)) + "}}"
    began = time.process_time()
    with contextlib.suppress(BadInput):
        parse_app_json(ordinary.encode())
    middle = time.process_time()
    try:
        warnings = parse_app_json(text.encode()).warnings
        assert warnings
    except BadInput as error:
        assert "app.json" in error.message
    assert time.process_time() - middle < 5 * (middle - began) + 0.1


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"expo": {"name": "x"}}, "that of Expo"),
        ({"name": "x", "displayName": "X"}, "that of React Native"),
        ({"pages": ["a"], "window": {}}, "that of a mini program"),
        (
            {"formation": [{"process": "web", "quantity": 1}]},
            "formation is a list, as other platforms have it",
        ),
        ({"env": ["A", "B"]}, "env is a list"),
        ({"env": {"A": 3}}, "env.A is 3, no text; it is taken as one"),
        ({"env": {"A": {"value": True}}}, "env.A.value is true, no text"),
        (
            {"env": {"A": {"required": "false"}}},
            'env.A.required is "false", no true or false; it is taken as one',
        ),
    ],
)
def test_the_shapes_of_other_platforms_are_named_and_refuse_nothing(data: Any, named: str) -> None:
    manifest = parse_app_json(json.dumps(data).encode())
    assert named in " ".join(manifest.warnings)


def test_what_another_platform_wrote_as_a_number_or_a_word_counts() -> None:
    env = parse_app_json(b'{"env": {"A": 3, "B": {"value": true, "required": "false"}}}').env
    assert (env["A"].value, env["B"].value, env["B"].required) == ("3", "true", False)
