"""Rows of `certificate`, of `auto_certificate` with `acme_attempt`, and of `challenge`. No row holds a private key."""

from __future__ import annotations

import json
from collections.abc import Collection

from paas.nouns.certificates import AutoCertificate, Certificate, Challenge, belongs
from paas.nouns.errors import NotFound
from paas.nouns.units import DAY_S
from paas.store.database import Tx, now
from paas.store.table import Table

CERTIFICATES = Table("certificate", Certificate, json=("names",))
CHALLENGES = Table("challenge", Challenge)
CHALLENGE_S = float(DAY_S)
_WANTED = (
    "SELECT app_id, domain, coalesce(failures, 0), coalesce(next_at, 0.0), error, order_url"
    " FROM auto_certificate LEFT JOIN acme_attempt USING (app_id, domain)"
)


def put(tx: Tx, certificate: Certificate) -> None:
    """Add it, in the place of the one that its domain had."""
    CERTIFICATES.delete(tx, app_id=certificate.app_id, domain=certificate.domain)
    CERTIFICATES.insert(tx, vars(certificate))


def of_app(tx: Tx, app_id: str | None) -> list[Certificate]:
    """Those of an app, or of the platform."""
    return CERTIFICATES.select(tx, "WHERE app_id IS ? ORDER BY domain", (app_id,))


def all(tx: Tx) -> list[Certificate]:
    return CERTIFICATES.select(tx, "ORDER BY created_at, app_id, domain")


def remove(tx: Tx, app_id: str | None, domain: str) -> None:
    """Take the domain's certificate away, and do not ask for another. Raises NotFound when there is neither."""
    removed = CERTIFICATES.delete(tx, app_id=app_id, domain=domain)
    if not (app_id and set_auto(tx, app_id, domain, on=False)) and not removed:
        raise NotFound(f"There is no certificate for {domain}.", "See: paas certs")


def keep_only(tx: Tx, app_id: str, hosts: Collection[str]) -> None:
    """Forget certificates of domains that the app no longer has."""
    domains = {item.domain for item in of_app(tx, app_id)} | {item.domain for item in wanted(tx, app_id)}
    for domain in domains:
        if not belongs(domain, hosts):
            remove(tx, app_id, domain)


def set_auto(tx: Tx, app_id: str, domain: str, *, on: bool) -> bool:
    """Whether the domain's certificate comes from the ACME directory; true if that changes anything. Turned on
    again, the directory is asked at once."""
    if on:
        tx.execute("DELETE FROM acme_attempt WHERE app_id = ? AND domain = ?", (app_id, domain))
        tx.execute(
            "INSERT INTO auto_certificate (app_id, domain, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (app_id, domain, now()),
        )
    else:
        tx.execute("DELETE FROM auto_certificate WHERE app_id = ? AND domain = ?", (app_id, domain))
    return tx.changes() > 0


def wanted(tx: Tx, app_id: str | None = None) -> list[AutoCertificate]:
    """The domains whose certificates come from the ACME directory, of one app or all."""
    condition, bindings = (" WHERE app_id = ?", (app_id,)) if app_id else ("", ())
    rows = tx.execute(f"{_WANTED}{condition} ORDER BY app_id, domain", bindings)
    return [
        AutoCertificate(app_id, domain, failures, next_at, json.loads(error) if error else None, order_url)
        for app_id, domain, failures, next_at, error, order_url in rows
    ]


def attempted(tx: Tx, auto: AutoCertificate) -> None:
    """Write down how asking goes. Nothing is kept of a domain that is no longer wanted."""
    error = json.dumps(auto.error) if auto.error else None
    tx.execute(
        "INSERT OR REPLACE INTO acme_attempt (app_id, domain, failures, next_at, error, order_url)"
        " SELECT app_id, domain, ?, ?, ?, ? FROM auto_certificate WHERE app_id = ? AND domain = ?",
        (auto.failures, auto.next_at, error, auto.order_url, auto.app_id, auto.domain),
    )


def add_challenge(tx: Tx, challenge: Challenge) -> None:
    """What the router answers when the directory checks the control of a domain; drops those that a crash left."""
    tx.execute("DELETE FROM challenge WHERE created_at < ?", (now() - CHALLENGE_S,))
    CHALLENGES.insert(tx, {**vars(challenge), "created_at": now()}, conflict="ON CONFLICT DO NOTHING")


def challenges(tx: Tx) -> list[Challenge]:
    return CHALLENGES.select(tx, "ORDER BY domain, token")


def remove_challenges(tx: Tx, domain: str) -> None:
    CHALLENGES.delete(tx, domain=domain)
