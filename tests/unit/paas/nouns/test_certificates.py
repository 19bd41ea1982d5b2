from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paas.nouns.certificates import (
    AutoCertificate,
    Certificate,
    Challenge,
    answers,
    belongs,
    covers,
    due_at,
    expires_soon,
    renew_at,
    retry_s,
    served,
    table_entries,
)

DAY = 86400.0


def certificate(app: str | None, domain: str, *names: str, file: str = "", **other: object) -> Certificate:
    made = Certificate(
        app,
        domain,
        names or (domain,),
        file or f"{app}-{domain}.pem",
        "added",
        "Root",
        "ff",
        0.0,
        90 * DAY,
        0.0,
    )
    return replace(made, **other)  # type: ignore[arg-type]


def files(hosts: dict[str, list[str]], *certificates: Certificate) -> dict[str, str]:
    return {host: item.file for host, item in served(hosts, certificates).items()}


def test_a_wildcard_covers_one_label() -> None:
    assert covers("*.a.io", "x.a.io")
    for pattern, host in (
        ("*.a.io", "a.io"),
        ("*.a.io", "x.y.a.io"),
        ("*.a.io", "*.b.a.io"),
        ("a.io", "*.a.io"),
    ):
        assert not covers(pattern, host)


def test_a_certificate_answers_for_every_name_of_its_app_that_it_covers() -> None:
    wild = certificate("a", "www.a.io", "*.a.io", "a.io")
    assert files({"a": ["www.a.io", "a.io", "b.io"]}, wild) == {"www.a.io": wild.file, "a.io": wild.file}


def test_the_certificate_given_for_a_domain_goes_before_another_that_covers_it() -> None:
    wild, own = certificate("a", "*.a.io"), certificate("a", "www.a.io")
    hosts = {"a": ["*.a.io", "www.a.io"]}
    assert files(hosts, wild, own) == {"*.a.io": wild.file, "www.a.io": own.file}
    assert files(hosts, own, wild) == {"*.a.io": wild.file, "www.a.io": own.file}


def test_no_certificate_answers_for_a_domain_of_another_app() -> None:
    greedy = certificate("a", "a.io", "a.io", "bank.io", "*.bank.io")
    assert files({"a": ["a.io"], "b": ["bank.io", "*.bank.io"]}, greedy) == {"a.io": greedy.file}


def test_a_name_below_a_wildcard_domain_may_have_its_own_certificate_unless_another_app_has_the_name() -> (
    None
):
    below = certificate("a", "x.a.io")
    assert files({"a": ["*.a.io"]}, below) == {"x.a.io": below.file}
    assert files({"a": ["*.a.io"], "b": ["x.a.io"]}, below) == {}
    assert belongs("x.a.io", ["*.a.io"])
    assert not belongs("x.a.io", ["*.a.io"], {"x.a.io"})
    assert not belongs("a.io", ["*.a.io"])


def test_of_apps_that_share_a_host_the_one_with_a_certificate_answers() -> None:
    shared = certificate("b", "a.io")
    assert files({"a": ["a.io"], "b": ["a.io"]}, shared) == {"a.io": shared.file}


def test_the_platforms_answers_for_own_addresses_that_have_none_of_their_own() -> None:
    wild, own = certificate(None, "*.apps.io"), certificate("b", "b.apps.io")
    hosts = {"a": ["a.apps.io", "shop.io"], "b": ["b.apps.io"], "c": ["c.apps.io"]}
    assert files(hosts, wild, own) == {"a.apps.io": wild.file, "b.apps.io": own.file, "c.apps.io": wild.file}
    greedy = certificate(None, "*.apps.io", "*.apps.io", "shop.io")
    assert "shop.io" not in files(hosts, greedy)


def test_a_certificate_for_a_domain_that_is_gone_answers_for_nothing() -> None:
    assert files({"a": ["b.io"]}, certificate("a", "a.io")) == {}


def test_the_table_names_files_and_answers() -> None:
    chosen = served({"a": ["a.io", "b.io"]}, [certificate("a", "a.io", "a.io", "b.io", file="f.pem")])
    assert table_entries(chosen) == [{"names": ["a.io", "b.io"], "file": "f.pem"}]
    asked = [Challenge("c.io", "t1", "t1.k"), Challenge("c.io", "t2", "t2.k")]
    assert answers(asked) == {"c.io": {"t1": "t1.k", "t2": "t2.k"}}


@given(st.text("0123456789abcdef", min_size=1), st.floats(10, 400 * DAY))
def test_renewal_comes_after_six_tenths_and_before_two_thirds_of_a_life(
    fingerprint: str, lifetime: float
) -> None:
    item = certificate("a", "a.io", fingerprint=fingerprint, not_before=1000.0, not_after=1000.0 + lifetime)
    assert 0.61 * lifetime <= renew_at(item) - 1000.0 <= lifetime * 2 / 3 + 0.001


def test_the_directory_is_asked_at_once_then_for_renewal_and_never_before_the_next_try() -> None:
    wanted = AutoCertificate("a", "a.io")
    mine = certificate("a", "a.io", source="acme")
    assert due_at(wanted, None) == 0
    assert due_at(wanted, certificate("a", "a.io")) == 0
    assert due_at(wanted, mine) == renew_at(mine)
    assert due_at(replace(wanted, next_at=89 * DAY), mine) == 89 * DAY


def test_failures_wait_from_a_minute_to_a_day() -> None:
    assert [retry_s(n) for n in (1, 2, 3, 11, 12, 99)] == [60, 120, 240, 61440, DAY, DAY]


@pytest.mark.parametrize(
    ("lifetime", "left", "soon"), [(90, 10, False), (90, 8, True), (365, 15, False), (365, 13, True)]
)
def test_people_are_told_before_a_certificate_expires(lifetime: int, left: int, soon: bool) -> None:
    assert expires_soon(certificate("a", "a.io", not_after=lifetime * DAY), (lifetime - left) * DAY) is soon
