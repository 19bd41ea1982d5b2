from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from paas.nouns.errors import BadInput
from paas.tls import x509

NOW = datetime(2026, 8, 4, tzinfo=UTC)
HOST = "shop.example.com"


@dataclass
class Signer:
    """An authority, and its key."""

    certificate: library.Certificate
    key: ec.EllipticCurvePrivateKey


def name(text: str) -> library.Name:
    return library.Name([library.NameAttribute(library.NameOID.COMMON_NAME, text)])


def signed(
    subject: str,
    key: object,
    by: Signer | None = None,
    *,
    names: tuple[str, ...] = (),
    ca: bool = False,
    days: tuple[int, int] = (-1, 30),
) -> library.Certificate:
    issuer, signer = (by.certificate.subject, by.key) if by else (name(subject), key)
    builder = library.CertificateBuilder(
        issuer_name=issuer,
        subject_name=name(subject),
        public_key=key.public_key(),  # type: ignore[attr-defined]
        serial_number=library.random_serial_number(),
        not_valid_before=NOW + timedelta(days=days[0]),
        not_valid_after=NOW + timedelta(days=days[1]),
    ).add_extension(library.BasicConstraints(ca, None), critical=True)
    if names:
        builder = builder.add_extension(
            library.SubjectAlternativeName([library.DNSName(text) for text in names]), critical=False
        )
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, algorithm)  # type: ignore[arg-type]


def authority(subject: str, by: Signer | None = None, **how: object) -> Signer:
    key = x509.new_key()
    return Signer(signed(subject, key, by, ca=True, **how), key)  # type: ignore[arg-type]


ROOT = authority("Root")
MIDDLE = authority("Middle", ROOT)
KEY = x509.new_key()
LEAF = signed(HOST, KEY, MIDDLE, names=(HOST, "*.example.org"))


def pem(*certificates: library.Certificate) -> bytes:
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


def refused(chain: bytes, key: bytes, domain: str = HOST) -> list[str]:
    """Everything that is said to be wrong."""
    with pytest.raises(BadInput) as caught:
        x509.check(chain, key, domain, NOW)
    error = caught.value
    return [*(error.lines or (error.message,)), error.hint]


def test_a_good_pair_is_taken_with_what_it_says_of_itself() -> None:
    pair = x509.check(pem(LEAF, MIDDLE.certificate, ROOT.certificate), x509.key_pem(KEY), HOST, NOW)
    row = pair.row("a1", HOST, file="f.pem", source="added", now=1.0)
    assert (row.names, row.issuer) == ((HOST, "*.example.org"), "Middle")
    assert row.not_after == (NOW + timedelta(days=30)).timestamp()
    assert row.fingerprint == LEAF.fingerprint(hashes.SHA256()).hex()


def test_a_wildcard_is_good_for_one_label() -> None:
    chain = pem(LEAF, MIDDLE.certificate, ROOT.certificate)
    x509.check(chain, x509.key_pem(KEY), "www.example.org", NOW)
    assert "not for a.b.example.org" in refused(chain, x509.key_pem(KEY), "a.b.example.org")[0]


def test_a_chain_that_ends_at_a_stranger_is_taken_with_a_warning() -> None:
    pair = x509.check(pem(LEAF), x509.key_pem(KEY), HOST, NOW)
    assert "do not know its issuer, Middle" in pair.warnings[0]
    own = signed(HOST, KEY, names=(HOST,))
    assert "which signed itself" in x509.check(pem(own), x509.key_pem(KEY), HOST, NOW).warnings[0]


@pytest.mark.parametrize(
    ("key", "good"),
    [
        (ec.generate_private_key(ec.SECP384R1()), True),
        (ed25519.Ed25519PrivateKey.generate(), True),
        (rsa.generate_private_key(65537, 2048), True),
        (rsa.generate_private_key(65537, 1024), False),
        (rsa.generate_private_key(65537, 4104), False),
        (ec.generate_private_key(ec.SECP521R1()), False),
        (ec.generate_private_key(ec.SECP256K1()), False),
        (dsa.generate_private_key(2048), False),
    ],
    ids=["P-384", "Ed25519", "RSA-2048", "RSA-1024", "RSA-4104", "P-521", "secp256k1", "DSA"],
)
def test_keys_must_be_strong_and_known_to_browsers(key: object, good: bool) -> None:
    chain = pem(signed(HOST, key, names=(HOST,)))
    if good:
        x509.check(chain, x509.key_pem(key), HOST, NOW)  # type: ignore[arg-type]
    else:
        assert "The key" in refused(chain, x509.key_pem(key))[0]  # type: ignore[arg-type]


OTHER = x509.key_pem(x509.new_key())
ENCRYPTED = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
)
LEGACY = KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.BestAvailableEncryption(b"x"),
)
HUGE = b"-----BEGIN PRIVATE KEY-----\n" + b"MII" * 4000 + b"\n-----END PRIVATE KEY-----\n"
FULL = pem(LEAF, MIDDLE.certificate, ROOT.certificate)
OWN = x509.key_pem(KEY)
STALE = authority("Stale", ROOT, days=(-9, -2))
CLERK = Signer(signed("Clerk", KEY, ROOT), KEY)


@pytest.mark.parametrize(
    ("chain", "key", "said"),
    [
        (FULL, OTHER, ["not the one that the certificate was made for"]),
        (FULL, ENCRYPTED, ["encrypted", "openssl pkey -in"]),
        (FULL, LEGACY, ["encrypted", "openssl pkey -in"]),
        (FULL, FULL, ["no private key, but a certificate"]),
        (FULL, HUGE, ["too large", "4096 bits"]),
        (OWN, OWN, ["holds no certificate", "private key instead"]),
        (FULL, OWN + OTHER, ["2 private keys"]),
        (b"hello", OWN, ["not in PEM form", "openssl x509 -inform der"]),
        (FULL.replace(b"MII", b"M!I"), OWN, ["The certificate cannot be read"]),
        (pem(LEAF, ROOT.certificate, MIDDLE.certificate), OWN, ["Certificate 2", "not in order"]),
        (pem(LEAF, ROOT.certificate), OWN, ["Certificate 2", "broken"]),
        (pem(MIDDLE.certificate, LEAF), OWN, ["certificate is number 2", "own certificate first"]),
        (pem(signed(HOST, KEY, CLERK, names=(HOST,)), CLERK.certificate), OWN, ["Certificate 2", "broken"]),
        (pem(signed(HOST, KEY, STALE, names=(HOST,)), STALE.certificate), OWN, ["Certificate 2 (Stale) expired"]),
        (pem(signed(HOST, KEY)), OWN, ["subjectAltName"]),
        (pem(signed(HOST, KEY, names=("other.example.com",))), OWN, ["other.example.com, not for shop"]),
        (pem(signed(HOST, KEY, names=(HOST,), days=(-9, -1))), OWN, ["expired on 2026-08-03"]),
        (pem(signed(HOST, KEY, names=(HOST,), days=(1, 9))), OWN, ["not valid before 2026-08-05"]),
        (pem(*[LEAF] * 11), OWN, ["11 certificates"]),
        (pem(signed(HOST, KEY, names=(HOST, *(f"{n}.{HOST}" for n in range(3000))))), OWN, ["too large", "65536"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(chain: bytes, key: bytes, said: list[str]) -> None:
    text = "\n".join(refused(chain, key))
    for words in said:
        assert words in text


def test_everything_that_is_wrong_is_said_at_once() -> None:
    chain = pem(signed("x", KEY, names=("other.example.com",), days=(-9, -1)), ROOT.certificate)
    said = refused(chain, OTHER)
    assert len(said) == 5  # the name, the end, the chain, the key; and the hint


def test_no_error_shows_anything_of_the_key() -> None:
    for chain, key in ((b"", OWN), (OWN, OWN), (FULL, OWN[:-60])):
        assert not any(line in "\n".join(refused(chain, key)) for line in OWN.decode().splitlines()[1:-1])


def test_what_the_development_authority_issues_is_accepted_by_openssl(tmp_path: Path) -> None:
    now = x509.utc_now()
    ca = x509.make_ca("paas development", now)
    for host in (HOST, f"{'a' * 60}.{'b' * 60}.example.com", "*.example.com"):
        pair = x509.issue(x509.read_pair(ca.pem), host, now)
        (tmp_path / "ca.pem").write_bytes(ca.chain_pem)
        (tmp_path / "leaf.pem").write_bytes(pair.pem)
        words = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname"]
        words += [host.replace("*", "any"), "-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "leaf.pem")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "leaf.pem")
