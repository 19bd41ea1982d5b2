from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from paas.nouns.certificates import AutoCertificate, Certificate, Challenge
from paas.nouns.errors import NotFound
from paas.store import Store, Tx, apps, certificates


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Tx]:
    store = Store.open(tmp_path / "paas.db")
    with store.write() as opened:
        yield opened
    store.close()


def certificate(app_id: str, domain: str, file: str = "f.pem") -> Certificate:
    return Certificate(app_id, domain, (domain, "*.x.io"), file, "added", "Root", "ff", 1.0, 2.0, 3.0)


def test_a_domain_has_one_certificate_the_newest(tx: Tx) -> None:
    app = apps.create(tx, "hello", None).id
    certificates.put(tx, certificate(app, "a.io"))
    certificates.put(tx, certificate(app, "a.io", "g.pem"))
    assert certificates.of_app(tx, app) == [certificate(app, "a.io", "g.pem")] == certificates.all(tx)


def test_the_platform_has_certificates_of_its_own(tx: Tx) -> None:
    app = apps.create(tx, "hello", None).id
    shared = replace(certificate(app, "*.a.io"), app_id=None)
    for item in (shared, certificate(app, "*.a.io"), shared):
        certificates.put(tx, item)
    assert certificates.of_app(tx, None) == [shared]
    apps.delete(tx, app)
    assert certificates.all(tx) == [shared]
    certificates.remove(tx, None, "*.a.io")
    with pytest.raises(NotFound):
        certificates.remove(tx, None, "*.a.io")


def test_how_asking_went_is_forgotten_when_it_is_turned_off_or_on_again(tx: Tx) -> None:
    app = apps.create(tx, "hello", None).id
    assert certificates.set_auto(tx, app, "a.io", on=True)
    failed = AutoCertificate(app, "a.io", 2, 60.0, {"message": "No."}, "https://ca/order/1")
    certificates.attempted(tx, failed)
    assert certificates.wanted(tx) == [failed]
    assert not certificates.set_auto(tx, app, "a.io", on=True)
    assert certificates.wanted(tx) == [AutoCertificate(app, "a.io")]
    certificates.set_auto(tx, app, "a.io", on=False)
    certificates.attempted(tx, failed)
    assert certificates.wanted(tx) == []


def test_removing_takes_the_certificate_and_the_wish_for_another(tx: Tx) -> None:
    app = apps.create(tx, "hello", None).id
    certificates.put(tx, certificate(app, "a.io"))
    certificates.set_auto(tx, app, "a.io", on=True)
    certificates.remove(tx, app, "a.io")
    assert (certificates.all(tx), certificates.wanted(tx)) == ([], [])
    with pytest.raises(NotFound):
        certificates.remove(tx, app, "a.io")


def test_what_is_for_domains_that_are_gone_goes_too(tx: Tx) -> None:
    app = apps.create(tx, "hello", None).id
    for domain in ("a.io", "b.io", "x.c.io"):
        certificates.put(tx, certificate(app, domain))
        certificates.set_auto(tx, app, domain, on=True)
    certificates.keep_only(tx, app, ["a.io", "*.c.io"])
    assert [item.domain for item in certificates.all(tx)] == ["a.io", "x.c.io"]
    assert [item.domain for item in certificates.wanted(tx)] == ["a.io", "x.c.io"]


def test_an_app_takes_its_certificates_with_it(tx: Tx) -> None:
    app = apps.create(tx, "hello", None).id
    certificates.put(tx, certificate(app, "a.io"))
    certificates.set_auto(tx, app, "a.io", on=True)
    certificates.attempted(tx, replace(AutoCertificate(app, "a.io"), failures=1))
    apps.delete(tx, app)
    assert (certificates.all(tx), certificates.wanted(tx)) == ([], [])


def test_challenges_are_kept_until_their_domain_is_decided(tx: Tx) -> None:
    first, second = Challenge("a.io", "t", "t.k"), Challenge("b.io", "t", "t.k")
    for item in (first, second, first):
        certificates.add_challenge(tx, item)
    assert certificates.challenges(tx) == [first, second]
    certificates.remove_challenges(tx, "a.io")
    assert certificates.challenges(tx) == [second]
