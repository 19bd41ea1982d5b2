"""Whatever is sent to whichever route, the api answers with a status below 500 and one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from harness.api import Api, As
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paas.api.app import create_app
from paas.api.context import Context

KEYS = [
    "name",
    "deploy_branch",
    "confirm",
    "set",
    "unset",
    "changes",
    "web",
    "worker",
    "quantity",
    "delta",
    "type",
    "to",
    "command",
    "terminal",
    "rows",
    "columns",
    "term",
    "detach",
    "env",
    "public_key",
    "user",
    "role",
    "commit",
    "tree",
    "branch",
    "files",
    "wait",
    "canary",
    "release",
    "share",
    "domain",
    "auth",
    "allow",
    "pages",
    "add",
    "remove",
    "body-limit",
    "sticky",
    "503",
    "memory_bytes",
    "cpu_millis",
    "pids",
]
WORDS = [
    "web",
    "web.1",
    "hello",
    "v1",
    "1",
    "debian-12",
    "*.example.com",
    "ann",
    "1" * 40,
    "main",
    "é",
    "\x00",
    "'",
    "%",
]
WORDS += ["../../x", "$(id)", "{{7*7}}", "' OR 1=1 --", "x" * 300, "\u202e", "-1", "1e5", ""]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS + WORDS), inner, max_size=3)
    ),
)
bodies = st.none() | values | st.dictionaries(st.sampled_from(KEYS), values, max_size=4)
segments = st.sampled_from(WORDS[:-1]) | st.text(min_size=1, max_size=12)


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    running = Api().start()
    try:
        running.user("ann")
        running.ask("POST", "/v1/apps", {"name": "hello"})
        yield running
        assert "Traceback" not in running.log.read_text()
    finally:
        running.close()


@pytest.fixture(scope="module")
def routes(api: Api) -> list[tuple[str, str]]:
    rules = create_app(Context(api.settings, api.store, None)).url_map.iter_rules()
    return sorted((method, rule.rule) for rule in rules for method in rule.methods or () if method != "HEAD")


@pytest.mark.parametrize("who", ["root", "git"])
def test_no_request_is_too_strange(api: Api, routes: list[tuple[str, str]], who: str) -> None:
    asker = As() if who == "root" else As(uid=api.git_uid, user="ann")

    @settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(routes), bodies, st.lists(segments, min_size=2, max_size=2), st.booleans(), segments
    )
    def ask(route: tuple[str, str], body: Any, parts: list[str], real: bool, query: str) -> None:
        method, rule = route
        filled = iter(["hello" if real and "<app_name>" in rule else parts[0], parts[1]])
        path = re.sub(r"<[^>]+>", lambda _: quote(next(filled), safe=""), rule)
        sent = json.dumps(body).encode() if body is not None else None
        reply = api.ask(
            method, f"{path}?lines={quote(query)}" if path.endswith("logs") else path, sent, asker
        )
        away = reply.status == 503 and reply.error["code"] == "unavailable"  # no router runs here
        assert reply.status < 500 or away, (method, path, body, reply.body)
        if reply.status >= 400:
            assert reply.error["message"].endswith((".", "?")), reply.error

    ask()
