"""Admission as a function: a policy and a request in, pass or refusal out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.middle.admission import Pass, Refusal, admit, asked_port, asking_address, pick
from router.rules.own_answers import ANSWERS, BY_CODE
from router.rules.policy import Ask, Policy
from router.rules.route import Backend, Pool, Route

ASK = Ask(
    method=b"GET", host=b"app.test", target=b"/a?b", head=b"GET /a?b HTTP/1.1\r\n", address=b"192.0.2.7"
)
SECURE = replace(ASK, scheme=b"https", port=443)


def test_a_challenge_is_answered_before_anything_else_is_looked_at() -> None:
    assert admit(Policy(challenge=b"token.key", maintenance=True), ASK) == Refusal(None, text=b"token.key")


def test_a_request_passes_with_the_lines_of_the_policy_where_they_mean_something() -> None:
    policy = Policy(hsts_s=60)
    assert admit(policy, ASK) == Pass(b"")
    assert admit(policy, SECURE) == Pass(b"Strict-Transport-Security: max-age=60\r\n")


def test_a_refusal_says_why_and_how() -> None:
    refusal = admit(Policy(https_redirect=True), replace(ASK, https_port=8443, method=b"POST"))
    assert isinstance(refusal, Refusal) and refusal.own_answer is not None
    assert (refusal.own_answer.status, refusal.lines) == (308, b"Location: https://app.test:8443/a?b\r\n")
    assert admit(Policy(maintenance=True), ASK) == Refusal(BY_CODE["H80"], b"Retry-After: 60\r\n")
    assert admit(Policy(body_limit_bytes=9), replace(ASK, length=10)) == Refusal(ANSWERS["too-large"])


@pytest.mark.parametrize(
    ("trusted", "forwarded", "found"),
    [
        (False, b"203.0.113.1, ", b"192.0.2.7"),
        (True, b"", b"192.0.2.7"),
        (True, b"198.51.100.9, 203.0.113.1, ", b"203.0.113.1"),
        (True, b"unknown, ", b"192.0.2.7"),
        (True, b"2001:DB8::1, ", b"2001:db8::1"),
    ],
)
def test_the_address_is_what_a_trusted_proxy_saw(trusted: bool, forwarded: bytes, found: bytes) -> None:
    assert asking_address(b"192.0.2.7", trusted, forwarded) == found


def test_the_port_is_what_a_trusted_proxy_says() -> None:
    assert asked_port(b"https", 8443, 8080) == 8443
    assert asked_port(b"https", 0, 8080) == 443
    assert asked_port(b"", 0, 8080) == 8080


def backend(id: str) -> Backend:
    return Backend(id, "192.0.2.9", 5000)


def route(*pools: Pool) -> Route:
    shares = tuple((pool, 1) for pool in pools)
    return Route(b"/", "app", "a0", pools[0], ANSWERS["no-web"], shares=shares)


def test_a_client_stays_at_its_backend_while_that_is_ready() -> None:
    stable, canary = Pool("stable", [backend("i1"), backend("i2")]), Pool("canary", [backend("i3")])
    where = route(stable, canary)
    for name in ("i1", "i2", "i3"):
        chosen = pick(where, (), name)
        assert chosen is not None and chosen.id == name
    tried = (canary.backends[0],)
    assert pick(where, tried, "i3") in stable.backends


def test_while_one_pool_is_not_fit_the_other_one_serves_all() -> None:
    stable, canary = Pool("stable", [backend("i1")]), Pool("canary", [backend("i2")])
    canary.backends[0].sick = True
    canary.refresh(0.0)
    assert {pick(route(stable, canary), (), "") for _ in range(50)} == {stable.backends[0]}
    assert pick(route(stable, canary), (stable.backends[0],), "") is canary.backends[0]
    assert pick(route(Pool("none", [])), (), "") is None
