"""The platform's own certificate authority, for development, and the private files beside it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from paas.tls import x509
from runtime.home import Layout


def development_ca(layout: Layout) -> x509.Pair:
    """The authority that signs `certs:generate`, made at its first use. Raises OSError."""
    path = secrets_folder(layout) / "ca.pem"
    if not path.exists():
        keep(path, x509.make_ca(f"paas development {layout.id}", x509.utc_now()).pem)
    return x509.read_pair(path.read_bytes())


def secrets_folder(layout: Layout) -> Path:
    """Where the control plane keeps the keys that are no router's business."""
    return layout.secrets / "certificates"


def keep(path: Path, data: bytes) -> None:
    """Write a private file (0600), whole after any crash, unless it is there: who comes first, wins."""
    descriptor, fresh = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        os.unlink(fresh)
