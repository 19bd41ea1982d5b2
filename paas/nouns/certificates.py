"""Certificates as the platform keeps them: the choice of one for each host name, and the time of renewal. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from paas.nouns.units import DAY_S

FIRST_RETRY_S = 60.0
LAST_RETRY_S = float(DAY_S)
WARN_S = 14.0 * DAY_S


@dataclass(frozen=True)
class Certificate:
    """A certificate in use. `app_id` is None for the platform's own; `domain` is the host it was added for, `names` its
    subjectAltName, `file` its name in `edge/certificates`, `source` added, generated or acme. Times are unix seconds."""

    app_id: str | None
    domain: str
    names: tuple[str, ...]
    file: str
    source: str
    issuer: str
    fingerprint: str
    not_before: float
    not_after: float
    created_at: float


@dataclass(frozen=True)
class AutoCertificate:
    """A domain whose certificate comes from the ACME directory. `failures` counts the last attempts in a row that
    failed, `next_at` is the time of the next attempt, `order_url` an order that was left unfinished."""

    app_id: str
    domain: str
    failures: int = 0
    next_at: float = 0.0
    error: Mapping[str, Any] | None = None
    order_url: str | None = None


@dataclass(frozen=True)
class Challenge:
    """The answer that the authority fetches from `http://DOMAIN/.well-known/acme-challenge/TOKEN` (RFC 8555, section 8.3)."""

    domain: str
    token: str
    answer: str


def covers(pattern: str, host: str) -> bool:
    """True if a certificate's name matches a host: the same name, or a wildcard in place of one label (RFC 6125).

    >>> covers("*.example.com", "www.example.com"), covers("*.example.com", "a.b.example.com")
    (True, False)
    """
    if pattern == host:
        return True
    return pattern.startswith("*.") and not host.startswith("*.") and host.partition(".")[2] == pattern[2:]


def belongs(domain: str, hosts: Iterable[str], others: Collection[str] = ()) -> bool:
    """True if an app with these `hosts` may have a certificate for the domain: it is one of them, or lies below one of its
    wildcards and is not a host of others."""
    return any(covers(host, domain) and (host == domain or domain not in others) for host in hosts)


def served(
    hosts: Mapping[str, Collection[str]], certificates: Iterable[Certificate]
) -> dict[str, Certificate]:
    """Host name → the certificate that answers for it. `hosts` are those of each app by id, its own address first.

    No app's certificate answers for a host of another app, whatever names it contains. The platform's certificate answers
    for own addresses of apps only, and only where the app has none.
    """
    by_app: dict[str | None, list[Certificate]] = {}
    by_name: dict[tuple[str | None, str], list[Certificate]] = {}
    for certificate in certificates:
        by_app.setdefault(certificate.app_id, []).append(certificate)
        for name in certificate.names:
            by_name.setdefault((certificate.app_id, name), []).append(certificate)
    # The first claim to a name wins: first the hosts of apps, then domains below an app's wildcard, and last the
    # platform's certificate for the own address of each app.
    known = {host for found in hosts.values() for host in found}
    claims: list[tuple[str | None, str]] = [
        (app_id, host) for app_id, names in hosts.items() if app_id in by_app for host in names
    ]
    claims += [
        (app_id, c.domain)
        for app_id, names in hosts.items()
        for c in by_app.get(app_id, ())
        if c.domain not in known and belongs(c.domain, names)
    ]
    claims += [(None, next(iter(names))) for names in hosts.values() if names and None in by_app]
    chosen: dict[str, Certificate] = {}
    for app_id, host in claims:
        above = "*." + host.partition(".")[2]
        # A wildcard in a certificate stands for one label, so only the name one label up can cover the host.
        if found := [*by_name.get((app_id, host), ()), *by_name.get((app_id, above), ())]:
            # A certificate that was added for this host comes first; among equals, the one that is valid longest.
            chosen.setdefault(host, max(found, key=lambda c: (c.domain == host, c.not_after)))
    return chosen


def table_entries(chosen: Mapping[str, Certificate]) -> list[dict[str, object]]:
    """The entry `certificates` of the router's table: files with the names they answer for."""
    names: dict[str, list[str]] = {}
    for host, certificate in sorted(chosen.items()):
        names.setdefault(certificate.file, []).append(host)
    return [{"names": hosts, "file": file} for file, hosts in names.items()]


def answers(challenges: Iterable[Challenge]) -> dict[str, dict[str, str]]:
    """The entry `challenges` of the router's table."""
    found: dict[str, dict[str, str]] = {}
    for challenge in challenges:
        found.setdefault(challenge.domain, {})[challenge.token] = challenge.answer
    return found


def renew_at(certificate: Certificate) -> float:
    """Time of renewal: after two thirds of the lifetime, less up to a twentieth of it, so that certificates that were issued
    together are not renewed together."""
    lifetime = certificate.not_after - certificate.not_before
    early = zlib.crc32(certificate.fingerprint.encode()) / (1 << 32) / 20
    return certificate.not_before + lifetime * (2 / 3 - early)


def due_at(wanted: AutoCertificate, present: Certificate | None) -> float:
    """The time at which to ask the directory for this domain."""
    renewal = renew_at(present) if present is not None and present.source == "acme" else 0.0
    return max(renewal, wanted.next_at)


def retry_s(failures: int) -> float:
    """How long to wait after so many failures in a row: a minute, doubled each time, at most a day."""
    return min(LAST_RETRY_S, FIRST_RETRY_S * (1 << min(max(0, failures - 1), 20)))


def expires_soon(certificate: Certificate, now: float) -> bool:
    """True when the owner should be warned: two weeks before the end, or after nine tenths of a shorter lifetime."""
    lifetime = certificate.not_after - certificate.not_before
    return certificate.not_after - now < min(WARN_S, lifetime / 10)
