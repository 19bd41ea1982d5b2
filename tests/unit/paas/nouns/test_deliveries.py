"""Deliveries of forges: whose they are, and what they tell."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from harness.deliveries import AFTER, FORGES, Delivery, github

from paas.nouns.deliveries import FORM, is_signed, parse_delivery
from paas.nouns.errors import BadInput

SECRET = "a secret"


def low(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def told(delivery: Delivery) -> tuple[str, str, str]:
    headers, body = delivery
    found = parse_delivery(low(headers), headers["Content-Type"], body)
    return found.kind, found.branch, found.commit


@pytest.mark.parametrize("forge", FORGES)
def test_a_push_is_believed_from_who_knows_the_secret(forge: str) -> None:
    headers, body = FORGES[forge](SECRET)
    assert is_signed(low(headers), body, SECRET)
    assert not is_signed(low(headers), body, "another")
    if forge != "gitlab":
        assert not is_signed(low(headers), body + b" ", SECRET)
    assert told((headers, body)) == ("push", "main", AFTER)


@pytest.mark.parametrize("forge", FORGES)
def test_no_signature_an_empty_one_and_one_of_several_that_is_wrong_are_not_believed(forge: str) -> None:
    headers, body = FORGES[forge](SECRET)
    for name in ("X-Hub-Signature-256", "X-Gitea-Signature", "X-Gitlab-Token"):
        if name in headers:
            assert not is_signed(low({**headers, name: "sha256=ü" + "0" * 63}), body, SECRET)
    assert not is_signed({"x-github-event": "push"}, body, SECRET)
    assert not is_signed({"x-gitlab-token": "", "x-hub-signature-256": ""}, body, SECRET)
    assert not is_signed({"x-hub-signature": "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6"}, body, SECRET)


@pytest.mark.parametrize("forge", FORGES)
def test_what_is_no_push_of_a_branch_is_told_apart(forge: str) -> None:
    make = FORGES[forge]
    assert told(make(SECRET, ref="refs/heads/feature/x"))[:2] == ("push", "feature/x")
    assert told(make(SECRET, ref="refs/tags/v1"))[0] == "other"
    assert told(make(SECRET, after="0" * 40)) == ("deleted", "main", "")
    assert told(make(SECRET, event="issues"))[0] == "other"
    assert told(make(SECRET, ref="refs/heads/a b"))[0] == told(make(SECRET, ref=7))[0] == "other"


def test_github_pings_and_may_send_a_form() -> None:
    assert told(github(SECRET, event="ping"))[0] == "ping"
    headers, body = github(SECRET)
    form = urlencode({"payload": body.decode()}).encode()
    assert told(({**headers, "Content-Type": FORM}, form)) == ("push", "main", AFTER)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"7", b'{"ref": "x"}', b"\xff", b"[" * 100_000, json.dumps({"after": 1}).encode()],
)
def test_a_push_that_says_nothing_is_refused(body: Any) -> None:
    for kind in ("application/json", FORM):
        with pytest.raises(BadInput, match="no push"):
            parse_delivery({"x-github-event": "push"}, kind, body)
