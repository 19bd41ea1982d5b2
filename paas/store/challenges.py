"""Rows of `challenge`: what the router answers to an authority that checks who a domain belongs to."""

from __future__ import annotations

from paas.nouns.certificates import Challenge
from paas.nouns.units import DAY_S
from paas.store.database import Tx, now

FORGOTTEN_S = float(DAY_S)
_COLUMNS = "domain, token, answer"


def add(tx: Tx, challenge: Challenge) -> None:
    """From now on it is to be answered; one that is there already stays as it is. Forgets what a crash left."""
    tx.execute("DELETE FROM challenge WHERE created_at < ?", (now() - FORGOTTEN_S,))
    tx.execute(
        "INSERT INTO challenge (domain, token, answer, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (challenge.domain, challenge.token, challenge.answer, now()),
    )


def all(tx: Tx) -> list[Challenge]:
    return [Challenge(*row) for row in tx.execute(f"SELECT {_COLUMNS} FROM challenge ORDER BY domain, token")]


def remove(tx: Tx, domain: str) -> None:
    """The domain's challenges are over."""
    tx.execute("DELETE FROM challenge WHERE domain = ?", (domain,))
