"""The platform's own certificate authority, for development, and the private files beside it."""

from __future__ import annotations

from pathlib import Path

from paas.tls import x509
from runtime.home import Layout
from runtime.kernel import files


def development_ca(layout: Layout) -> x509.Pair:
    """The authority that signs `certs:generate`, made at its first use. Raises OSError."""
    path = secrets_folder(layout) / "ca.pem"
    if not path.exists():
        files.create(path, x509.make_ca(f"paas development {layout.id}", x509.utc_now()).pem, mode=0o600)
    return x509.read_pair(path.read_bytes())


def secrets_folder(layout: Layout) -> Path:
    """The folder of the keys that the router must not read."""
    return layout.secrets / "certificates"
