"""Routing settings: what may be typed, and which flags of the router come of it."""

from __future__ import annotations

from typing import Any

import pytest

from paas.nouns.errors import BadInput
from paas.routing.settings import AUTH, BY_NAME, PAGES, SETTINGS, flags, leads_to, setting, shown_values
from router.rules.own_answers import BY_CODE
from router.rules.policy import Policy
from router.rules.policy import parse as read_policy

GOOD = [
    ("maintenance", "on", True, "on"),
    ("pause", "45s", 45, "45s"),
    ("body-limit", "10M", 10 << 20, "10M"),
    ("body-limit", "none", 0, "none"),
    ("body-limit", "1.5K", 1536, "1536"),
    ("first-byte-timeout", "2m", 120, "2m"),
    ("idle-timeout", "90", 90, "90s"),
    ("canonical-host", "WWW.Example.com.", "www.example.com", "www.example.com"),
    ("canonical-host", "none", "", "none"),
    ("hsts", "0s", 0, "0s"),
    ("max-requests", "none", 0, "none"),
    ("hsts", "1y", 31_536_000, "1y"),
    ("sticky", "yes", True, "on"),
    ("allow", "10.1.2.3/8, 192.0.2.1,10.0.0.0/8", ["10.0.0.0/8", "192.0.2.1/32"], "10.0.0.0/8,192.0.2.1/32"),
    ("allow", "2001:db8::/32", ["2001:db8::/32"], "2001:db8::/32"),
    ("allow", "everybody", [], "everybody"),
    ("max-requests", "100", 100, "100"),
    ("queue", "0", 0, "0"),
    ("health-path", "/healthz?deep=1", "/healthz?deep=1", "/healthz?deep=1"),
    ("health-fails", "3", 3, "3"),
]  # fmt: skip

BAD = [
    ("maintenance", "maybe"), ("pause", "0"), ("pause", "11m"), ("pause", "1.5s"), ("pause", "-1"), ("pause", "٣"),
    ("body-limit", ""), ("body-limit", "10X"), ("body-limit", "-1"), ("body-limit", "10\u212a"),
    ("body-limit", "99999999999T"), ("first-byte-timeout", "0"), ("first-byte-timeout", "2h"), ("idle-timeout", "nan"),
    ("canonical-host", "*.example.com"), ("canonical-host", "example.com/a"), ("canonical-host", "a b.com"),
    ("allow", "10.0.0.0/33"), ("allow", "everyone"), ("max-requests", "0"), ("max-requests", "1e3"), ("queue", "-1"),
    ("health-path", "healthz"), ("health-path", "/a b"), ("health-path", "/a\r\nb"), ("health-fails", "0"),
    ("health-path", "/" + "a" * 300), ("allow", ",".join(f"10.0.{i // 250}.{i % 250}" for i in range(501))),
]  # fmt: skip


def made(app: dict[str, Any], own: dict[str, Any] | None = None, *, workers: int = 1) -> dict[str, Any]:
    return flags(app, own or {}, hosts=["hello.localhost", "*.example.com"], workers=workers)


@pytest.mark.parametrize(("name", "text", "value", "shown"), GOOD)
def test_what_people_type_is_read_and_shown_as_it_can_be_typed_again(
    name: str, text: str, value: Any, shown: str
) -> None:
    row = setting(name)
    assert row.read(text) == value
    assert row.kind.show(value) == shown
    assert row.read(shown) == value
    assert shown_values({name: value}) == {name: shown}


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_bad_value_is_refused_by_name_with_what_the_setting_means(name: str, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        setting(name).read(text)
    assert caught.value.message.startswith(f"{name}: ")
    assert caught.value.hint == BY_NAME[name].sentence


@pytest.mark.parametrize("value", [None, 5, True, ["on"]])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match="is not text"):
        setting("queue").read(value)


def test_an_unknown_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInput) as caught:
        setting("body-limits")
    assert caught.value.hint == "Did you mean body-limit?"


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, text, _, _ in GOOD])
def test_the_router_takes_whatever_is_accepted_here(name: str, text: str) -> None:
    value = setting(name).read(text)
    read_policy(made({"health-path": "/", name: value if name != "sticky" else "secret"}))


def test_all_settings_together_become_flags_of_the_router() -> None:
    values = {name: setting(name).read(text) for name, text, *_ in GOOD}
    values |= {"body-limit": 1 << 20, "canonical-host": "www.example.com", "sticky": "secret", "queue": 50}
    values |= {"allow": ["10.0.0.0/8"], "https-redirect": True, "compress": True}
    del values["pause"]
    assert made(values | {AUTH: {"ann": "0123456789abcdef$" + "0" * 64}, PAGES: {"H80": "a" * 64 + ".html"}}) == {
        "maintenance": True, "body_limit_bytes": 1 << 20, "first_byte_s": 120, "rolling_s": 90, "max_inflight": 100,
        "canonical_host": "www.example.com", "https_redirect": True, "hsts_s": 31_536_000, "sticky": "secret",
        "compress": True, "allow": ["10.0.0.0/8"], "queue": 50, "health": {"path": "/healthz?deep=1", "fails": 3},
        "basic_auth": {"ann": "0123456789abcdef$" + "0" * 64}, "pages": {"H80": "a" * 64 + ".html"},
    }  # fmt: skip


def test_nothing_set_is_no_flag() -> None:
    assert made({}) == {}
    assert made({"maintenance": False, "body-limit": 0, "allow": [], "hsts": 0, "canonical-host": ""}) == {}


def test_a_domain_overrides_its_app() -> None:
    app = {"body-limit": 10, "compress": True, "idle-timeout": 5, PAGES: {"503": "a.html", "H80": "b.html"}}
    own = {"body-limit": 0, "compress": False, PAGES: {"503": "c.html"}}
    assert made(app, own) == {"rolling_s": 5, "pages": {"503": "c.html", "H80": "b.html"}}


@pytest.mark.parametrize(("whole", "workers", "each"), [(10, 2, 5), (10, 3, 3), (1, 4, 1)])
def test_what_holds_for_the_whole_app_is_divided_over_the_workers(
    whole: int, workers: int, each: int
) -> None:
    assert made({"max-requests": whole, "queue": whole}, workers=workers) == {
        "max_inflight": each,
        "queue": each,
    }


def test_a_pause_says_how_long_a_request_waits_whatever_the_queue() -> None:
    app = {"pause": 20, "queue": 1, "queue-timeout": 3, "max-requests": 4}
    assert made(app, workers=2) == {"pause": True, "queue_s": 20, "queue": 5000, "max_inflight": 2}


def test_health_is_nothing_without_a_path() -> None:
    assert made({"health-interval": 3}) == {}
    assert made({"health-interval": 3, "health-path": ""}) == {}


def test_a_canonical_host_counts_while_it_leads_to_the_app() -> None:
    assert made({"canonical-host": "www.example.com"}) == {"canonical_host": "www.example.com"}
    assert made({"canonical-host": "www.example.org"}) == {}


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("hello.localhost", True),
        ("a.b.example.com", True),
        ("example.com", False),
        ("other.localhost", False),
    ],
)
def test_hosts_are_found_by_name_or_below_a_wildcard(host: str, found: bool) -> None:
    assert leads_to(host, ["hello.localhost", "*.example.com"]) is found


def test_defaults_are_those_of_the_router() -> None:
    plain = Policy()
    for name, value in (("queue", plain.queue), ("queue-timeout", int(plain.queue_s))):
        assert BY_NAME[name].read(BY_NAME[name].default) == value


def test_every_setting_is_in_the_documentation() -> None:
    from pathlib import Path

    page = (Path(__file__).parents[4] / "docs" / "routing.md").read_text()
    for row in SETTINGS:
        assert f"| `{row.name}` | {row.default} | {row.sentence} |" in page


def test_error_pages_are_for_codes_that_the_router_answers_with() -> None:
    from paas.api.routing import PAGE_CODES

    assert {"503", "413", "401", *BY_CODE} - {"H27"} <= set(PAGE_CODES)
    assert not {"200", "301", "404", "499", ""} & set(PAGE_CODES)
