"""Log lines through the api: which filters there are, what they let through, and times as people type them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from harness.flask_api import FlaskApi
from harness.rows import deployed

from paas import logs as lines
from paas.api.logs import MAX_LINES, since
from paas.nouns.errors import BadInput
from paas.store import instances


@pytest.fixture
def path(api: FlaskApi, name: str) -> str:
    """The address of the logs of an app with two instances that have printed something."""
    app_id = deployed(api, name, web="run", worker="work")
    with api.store.write() as tx:
        web, worker = (
            instances.create(tx, app_id, kind="process", type=type, number=1, release_number=release)
            for type, release in (("web", 1), ("worker", 2))
        )
    folder, now = api.layout.logs / app_id, lines.stamp(time.time())
    old = "2026-01-01T00:00:00.000000+00:00"
    (folder / f"{web.runtime_id}.0.log").write_bytes(
        f"{old} app[web.1]: first\n{now} app[web.1]: GET / abcdefgh\n".encode()
    )
    (folder / f"{worker.runtime_id}.0.log").write_bytes(f"{now} app[worker.1]: ".encode() + b"\xff\n")
    return f"/v1/apps/{name}/logs"


def shown(api: FlaskApi, path: str, query: str = "") -> list[str]:
    reply = api.ask("GET", path + query)
    assert reply.status == 200, reply.body
    return [line["line"].partition(" ")[2] for line in reply.lines]


WEB, REQUEST, WORKER = "app[web.1]: first", "app[web.1]: GET / abcdefgh", "app[worker.1]: \ufffd"
CREATED = "paas[api]: Create app by root"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [WEB, CREATED, REQUEST, WORKER]),
        ("?lines=2", [REQUEST, WORKER]),
        ("?lines=0", []),
        ("?type=web", [WEB, REQUEST]),
        ("?dyno=worker.1", [WORKER]),
        ("?source=paas", [CREATED]),
        ("?source=app&type=web&lines=1", [REQUEST]),
        ("?since=1h", [CREATED, REQUEST, WORKER]),
        ("?request=abcdefgh", [REQUEST]),
        ("?release=v1", [WEB, REQUEST]),
        ("?release=v9", []),
    ],
)
def test_filters_let_through_what_they_name(api: FlaskApi, path: str, query: str, found: list[str]) -> None:
    assert sorted(shown(api, path, query)) == sorted(found)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"?lines={MAX_LINES + 1}", "10001"),
        ("?lines=-1", "-1"),
        ("?source=kernel", "'kernel' is not a log source."),
        ("?request=short", "'short' is not a request id."),
        ("?request=a%20b%20c%20d%20e", "is not a request id."),
        ("?since=tomorrow", "'tomorrow' is not a time."),
        ("?dyno=web", "web"),
        ("?release=latest", "latest"),
        ("?colour=red", "colour"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_by_name(
    api: FlaskApi, path: str, query: str, message: str
) -> None:
    reply = api.ask("GET", path + query)
    assert reply.status == 422 and message in reply.error["message"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m", 600), ("2h", 7200), ("90s", 90), ("1d", 86400)],
)
def test_a_duration_is_counted_back_from_now(text: str, seconds: int) -> None:
    before = time.time()
    at = datetime.fromisoformat(since(text)).timestamp()
    assert before - seconds <= at + 1e-3 and at <= time.time() - seconds


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that is elsewhere."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_a_time_is_utc_unless_it_has_a_zone() -> None:
    assert (
        since("2026-08-04T21:53:15")
        == since("2026-08-04T23:53:15+02:00")
        == "2026-08-04T21:53:15.000000+00:00"
    )
    assert since("2026-08-04") == "2026-08-04T00:00:00.000000+00:00"


@pytest.mark.parametrize("text", ["", "10", "m", "10w", "1h30m", "9999999d", "0000-00-00", "\x1b[2J"])
def test_what_is_no_time_is_shown_in_the_refusal_harmlessly(text: str) -> None:
    with pytest.raises(BadInput, match="is not a time") as caught:
        since(text)
    assert re.search(r"[\x00-\x1f]", caught.value.message) is None
    assert caught.value.hint == "It must be like 10m, 2h or 2026-08-04T21:53:15."
