"""Rows of `challenge`: what the router answers when an authority checks the control of a domain."""

from __future__ import annotations

from paas.nouns.certificates import Challenge
from paas.nouns.units import DAY_S
from paas.store.database import Tx, now
from paas.store.table import Table

FORGOTTEN_S = float(DAY_S)
CHALLENGES = Table("challenge", Challenge)


def add(tx: Tx, challenge: Challenge) -> None:
    """Add a challenge unless it exists; drop those that a crash left."""
    tx.execute("DELETE FROM challenge WHERE created_at < ?", (now() - FORGOTTEN_S,))
    CHALLENGES.insert(tx, {**vars(challenge), "created_at": now()}, conflict="ON CONFLICT DO NOTHING")


def all(tx: Tx) -> list[Challenge]:
    return CHALLENGES.select(tx, "ORDER BY domain, token")


def remove(tx: Tx, domain: str) -> None:
    """The domain's challenges are over."""
    tx.execute("DELETE FROM challenge WHERE domain = ?", (domain,))
