"""Certificates for tests: files as the router wants them, and what a client needs to believe them."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NOW = datetime.datetime.now(datetime.UTC)


@cache
def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The one that signs all certificates of a test run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tests")])
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    builder = _builder(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    return builder.sign(key, hashes.SHA256()), key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    day = datetime.timedelta(days=1)
    return builder.not_valid_before(_NOW - day).not_valid_after(_NOW + 30 * day)


def pem(*names: str) -> bytes:
    """A new certificate for these names and its key."""
    issuer, issuer_key = authority()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = _builder(subject, issuer.subject, key.public_key())
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + private


def put(files: Path, *names: str, data: bytes | None = None) -> str:
    """Write a new certificate for these names into `files`; returns the name of the file."""
    data = data or pem(*names)
    name = hashlib.sha256(data).hexdigest() + ".pem"
    (files / "certificates").mkdir(parents=True, exist_ok=True)
    (files / "certificates" / name).write_bytes(data)
    return name


def client_context() -> ssl.SSLContext:
    """What a client needs to believe the certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(
        cadata=authority()[0].public_bytes(serialization.Encoding.PEM).decode("ascii")
    )
    return context
