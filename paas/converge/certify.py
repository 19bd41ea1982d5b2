"""Certificate upkeep: fills the TLS part of the table, warns before expiry, starts the ACME child."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import time
from collections.abc import Mapping

from paas import logs
from paas.nouns.certificates import Certificate, answers, belongs, due_at, expires_soon, served, table_entries
from paas.nouns.settings import Settings
from paas.nouns.units import DAY_S
from paas.store import Tx, certificates

log = logging.getLogger("converge.certify")

RESTART_S = 5.0
"""Minimum delay before a failed ACME child is started again."""
REMIND_S = float(DAY_S)

AutoKey = tuple[str | None, str]
"""App's id and domain."""


class Certifier:
    """`read` with every look at the rows, `act` after it."""

    def __init__(self, settings: Settings) -> None:
        self._layout = settings.layout()
        self._https_port = settings.https.port if settings.https else 0
        self._child: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0
        self._reminded: dict[AutoKey, float] = {}
        self._seen: object = None
        self._present: dict[AutoKey, Certificate] = {}
        self._chosen: dict[str, Certificate] = {}
        self._entries: list[dict[str, object]] = []
        self._due: dict[AutoKey, float] = {}

    def read(self, tx: Tx, hosts: Mapping[str, tuple[str, ...]], seq: int) -> dict[str, object]:
        """What the table says of TLS. `hosts` are the names of each app by id, `seq` the newest event: without a new
        one no certificate has changed."""
        if self._seen != (seq, hosts):
            self._seen = (seq, hosts)
            rows = certificates.all(tx)
            self._present = {(item.app_id, item.domain): item for item in rows}
            self._chosen = served(hosts, rows)
            self._entries = table_entries(self._chosen)
        self._due = {
            (auto.app_id, auto.domain): due_at(auto, self._present.get((auto.app_id, auto.domain)))
            for auto in certificates.wanted(tx)
            if belongs(auto.domain, hosts.get(auto.app_id, ()))
        }
        return {
            "certificates": self._entries,
            "challenges": answers(certificates.challenges(tx)),
            "https_port": self._https_port,
        }

    def act(self) -> float:
        """Start the child when a certificate is due, and warn before one expires; returns the seconds until the next is due."""
        if self._child is not None and (status := self._child.poll()) is not None:
            self._child = None
            if status:
                log.error("acme child status=%d", status)
                self._not_before = time.monotonic() + RESTART_S
        wake_s = min(self._due.values(), default=math.inf) - time.time()
        if wake_s <= 0 and self._child is None and time.monotonic() >= self._not_before:
            self._start()
        self._warn(time.time())
        return wake_s if wake_s > 0 else math.inf

    def _start(self) -> None:
        words = ["-P", "-m", "paas.tls.acme", "--settings", str(self._layout.run / "settings.json")]
        try:
            self._child = subprocess.Popen([sys.executable, *words], stdin=subprocess.DEVNULL)
        except OSError as error:
            log.error("acme child reason=%s", error.strerror)
            self._not_before = time.monotonic() + RESTART_S
            return
        log.info("acme child pid=%d", self._child.pid)

    def _warn(self, now: float) -> None:
        for certificate in {item.file: item for item in self._chosen.values()}.values():
            key = (certificate.app_id, certificate.domain)
            if expires_soon(certificate, now) and now - self._reminded.get(key, 0.0) > REMIND_S:
                self._reminded[key] = now
                verb = "expires" if certificate.not_after > now else "expired"
                end = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(certificate.not_after))
                text = f"Warning: the certificate for {certificate.domain} {verb} on {end}. See: paas certs"
                if certificate.app_id is not None:
                    logs.platform_line(self._layout, certificate.app_id, "certs", text)
                log.warning("domain=%s %s=%s", certificate.domain, verb, end)

    def close(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait()
