"""Put a certificate into service, whether brought by a person or issued by the development authority or by ACME."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from paas.nouns.certificates import Certificate
from paas.routing import files
from paas.store import Tx, certificates, events
from runtime.home import Layout

if TYPE_CHECKING:
    from paas.tls.x509 import Pair


def write(layout: Layout, pair: Pair, app_id: str | None, domain: str, source: str) -> Certificate:
    """Write chain and key where router workers read them; the row for `install`. Raises OSError."""
    file = files.put(layout.edge, "certificates", ".pem", pair.pem)
    return pair.row(app_id, domain, file=file, source=source, now=time.time())


def install(tx: Tx, row: Certificate, actor: str) -> None:
    """Make it the certificate of its domain, with the event that says so."""
    certificates.put(tx, row)
    detail = {"domain": row.domain, "source": row.source, "fingerprint": row.fingerprint}
    events.add(tx, row.app_id, actor, "certificate.add", detail)
