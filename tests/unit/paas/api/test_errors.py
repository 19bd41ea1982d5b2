"""Errors as JSON: known ones in their words, bugs as an id whose traceback is logged, a full disk as what it is."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.flask_api import FlaskApi

from paas.api.errors import internal_error


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FlaskApi]:
    made = FlaskApi(tmp_path)
    yield made
    made.close()


def test_a_bug_is_shown_as_an_id_and_logged_with_its_traceback(
    api: FlaskApi, caplog: pytest.LogCaptureFixture
) -> None:
    api.ask("POST", "/v1/apps", {"name": "hello"})
    with api.store.write() as tx:
        tx.execute("DROP TABLE domain")
    with caplog.at_level(logging.ERROR):
        reply = api.ask("GET", "/v1/apps/hello/domains")
    assert (reply.status, reply.error["code"]) == (500, "internal")
    assert "domain" not in reply.error["message"]
    number = reply.error["message"].split()[2].rstrip(".")
    assert f"id={number}" in caplog.text and "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/home/x/file"),
            "The platform cannot use /home/x: Permission denied.",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "The platform cannot use its disk: No space left on device.",
        ),
    ],
)
def test_a_failure_of_files_is_shown_in_words(error: OSError, words: str) -> None:
    shown = internal_error(error)
    assert (shown.message, shown.http_status) == (words, 503)


def test_what_is_too_large_is_refused(api: FlaskApi) -> None:
    reply = api.ask("POST", "/v1/apps", b'{"name": "' + b"x" * 2_000_000 + b'"}')
    assert (reply.status, reply.error["code"]) == (413, "too_large")
