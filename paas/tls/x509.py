"""X.509 certificates and their keys: checked before they are accepted (RFC 5280), and made for development.

Import it inside the function that needs it: the library is large, and daemons that only pass on file names do without.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from paas.nouns.certificates import Certificate, covers
from paas.nouns.errors import BadInput
from paas.nouns.text import harmless

LEAF_DAYS = 365
CA_DAYS = 3650
MOST_CERTIFICATES = 10
MOST_CHAIN_BYTES = 64 * 1024
MOST_RSA_BITS = 4096
"""A handshake with 16,384 bits takes a router worker a quarter of a second, during which it serves nobody."""
MOST_KEY_BYTES = 4096
"""The PEM of a key of that size has 3,300 bytes; merely parsing a much larger one takes a minute."""
_CURVES = ("secp256r1", "secp384r1")
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_ENCODING, _PKCS8, _PLAIN = (
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption(),
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A checked chain, the host's own certificate first, and its key. `warnings` are sentences."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes
    warnings: tuple[str, ...] = ()

    @property
    def pem(self) -> bytes:
        """Chain and key in one, as the router loads them."""
        return self.chain_pem + key_pem(self.key)

    @property
    def chain_pem(self) -> bytes:
        return b"".join(c.public_bytes(_ENCODING) for c in self.chain)

    def row(self, app_id: str | None, domain: str, *, file: str, source: str, now: float) -> Certificate:
        """What the store keeps of it."""
        leaf = self.chain[0]
        return Certificate(
            app_id=app_id,
            domain=domain,
            names=tuple(dns_names(leaf)),
            file=file,
            source=source,
            issuer=_common_name(leaf.issuer),
            fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
            not_before=leaf.not_valid_before_utc.timestamp(),
            not_after=leaf.not_valid_after_utc.timestamp(),
            created_at=now,
        )


def key_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(_ENCODING, _PKCS8, _PLAIN)


def dns_names(certificate: x509.Certificate) -> list[str]:
    """The host names in its subjectAltName, in lower case; browsers ignore the common name."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def check(certificate: bytes, key: bytes, domain: str, now: datetime) -> Pair:
    """Check a chain and its key for `domain`. Raises BadInput that lists every problem."""
    problems: list[str] = []
    chain = _read_chain(certificate, problems)
    private = _read_key(key, problems)
    if private is not None:
        problems += _key_problems(private)
    place = next((i for i, one in enumerate(chain, 1) if private is not None and _key_of(one, private)), 0)
    if place > 1:
        problems.append(f"The domain's own certificate is number {place} in the file: it is not in order.")
    elif chain:
        problems += _leaf_problems(chain[0], domain, now)
        problems += _chain_problems(chain, now)
        if private is not None and not place:
            problems.append("The key is not the one that the certificate was made for.")
    if problems or private is None:
        raise _refusal(domain, problems)
    return Pair(tuple(chain), private, tuple(_incomplete(chain)))


def _refusal(domain: str, problems: list[str]) -> BadInput:
    hint = ""
    if any("encrypted" in problem for problem in problems):
        hint = "Decrypt it with: openssl pkey -in KEYFILE -out DECRYPTED"
    elif any("not in PEM" in problem for problem in problems):
        hint = (
            "Convert it with: openssl x509 -inform der -in FILE -out CHAIN.pem (.p12, .pfx: openssl pkcs12)"
        )
    elif any("order" in problem for problem in problems):
        hint = "The file must hold the domain's own certificate first, then each one's issuer."
    if len(problems) == 1:
        return BadInput(problems[0], hint)
    return BadInput(
        f"There are {len(problems)} reasons why this cannot be used for {domain}.",
        hint,
        lines=tuple(problems),
    )


def _read_chain(data: bytes, problems: list[str]) -> list[x509.Certificate]:
    blocks = [match[0] for match in _PEM.finditer(data) if match[1].endswith(b"CERTIFICATE")]
    if not blocks:
        kinds = {match[1] for match in _PEM.finditer(data)}
        what = "a private key instead" if any(b"PRIVATE KEY" in kind for kind in kinds) else "not in PEM form"
        problems.append(f"The certificate file holds no certificate: it is {what}.")
    if len(blocks) > MOST_CERTIFICATES:
        problems.append(f"The certificate file holds {len(blocks)} certificates; a chain has 2 or 3.")
        return []
    if sum(map(len, blocks)) > MOST_CHAIN_BYTES:
        problems.append(
            f"The certificates are too large: at most {MOST_CHAIN_BYTES} bytes go into a handshake."
        )
        return []
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except (ValueError, UnsupportedAlgorithm) as error:
        problems.append(f"The certificate cannot be read: {_words(error)}.")
        return []


def _read_key(data: bytes, problems: list[str]) -> PrivateKeyTypes | None:
    blocks = [match for match in _PEM.finditer(data) if match[1].endswith(b"PRIVATE KEY")]
    if len(blocks) != 1:
        found = "no private key" if not blocks else f"{len(blocks)} private keys"
        also = ", but a certificate" if not blocks and b"BEGIN CERTIFICATE" in data else ""
        problems.append(f"The key file holds {found}{also}.")
        return None
    if b"ENCRYPTED" in blocks[0][0]:
        problems.append("The key is encrypted; nobody could type its passphrase at every start.")
        return None
    if len(blocks[0][0]) > MOST_KEY_BYTES:
        problems.append(f"The key is too large; RSA of up to {MOST_RSA_BITS} bits is good.")
        return None
    try:
        return serialization.load_pem_private_key(blocks[0][0], None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        problems.append(f"The key cannot be read: {_words(error)}.")
        return None


def _key_problems(key: PrivateKeyTypes) -> list[str]:
    if isinstance(key, rsa.RSAPrivateKey):
        if 2048 <= key.key_size <= MOST_RSA_BITS:
            return []
        return [f"The key is RSA of {key.key_size} bits; from 2048 to {MOST_RSA_BITS} are good."]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return (
            [] if key.curve.name in _CURVES else [f"The key's curve is {key.curve.name}, not P-256 or P-384."]
        )
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return []
    return ["The key is neither RSA nor EC nor Ed25519."]


def _leaf_problems(leaf: x509.Certificate, domain: str, now: datetime) -> list[str]:
    problems = []
    names = dns_names(leaf)
    if not names:
        problems.append("The certificate names no host in its subjectAltName, where browsers look.")
    elif not any(covers(name, domain) for name in names):
        shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        problems.append(f"The certificate is for {shown}, not for {domain}.")
    problems += _time_problems("The certificate", leaf, now)
    if isinstance(leaf.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        problems.append(
            f"The certificate is signed with {leaf.signature_hash_algorithm.name}, which is broken."
        )
    return problems


def _time_problems(what: str, certificate: x509.Certificate, now: datetime) -> list[str]:
    if certificate.not_valid_after_utc <= now:
        return [f"{what} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC."]
    if certificate.not_valid_before_utc > now:
        return [f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC."]
    return []


def _chain_problems(chain: Sequence[x509.Certificate], now: datetime) -> list[str]:
    problems = []
    for number, (lower, upper) in enumerate(pairwise(chain), 2):
        if not _issued(lower, upper):
            later = any(_issued(lower, other) for other in chain if other is not lower)
            end = "the chain is not in order" if later else "the chain is broken"
            problems.append(f"Certificate {number} did not sign the one before it: {end}.")
        problems += _time_problems(f"Certificate {number} ({_common_name(upper.subject)})", upper, now)
    return problems


def _key_of(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False


def _issued(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
        return upper.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False


def _incomplete(chain: Sequence[x509.Certificate]) -> list[str]:
    """A warning if the chain does not end at an authority that this machine trusts."""
    last = chain[-1]
    roots = _known_roots(last.issuer)
    if any(last == root or _issued(last, root) for root in roots):
        return []
    if last.issuer == last.subject:
        return [
            f"Clients that do not know {_common_name(last.subject)}, which signed itself, will not trust it."
        ]
    return [
        f"The chain ends at {_common_name(last.subject)}; clients that do not know its issuer, "
        f"{_common_name(last.issuer)}, will not trust it."
    ]


def _known_roots(name: x509.Name) -> list[x509.Certificate]:
    """This machine's trusted authorities with that name."""
    wanted, found = name.public_bytes(), []
    for der in ssl.create_default_context().get_ca_certs(binary_form=True):
        if wanted in der:
            with suppress(ValueError):
                found.append(x509.load_der_x509_certificate(der))
    return [root for root in found if root.subject == name]


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def make_ca(name: str, now: datetime) -> Pair:
    """An authority for development; it can sign hosts, no other authority."""
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        _builder(subject, subject, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair((made,), key)


def read_pair(data: bytes) -> Pair:
    """What `Pair.pem` gave. Raises ValueError."""
    return Pair(tuple(x509.load_pem_x509_certificates(data)), serialization.load_pem_private_key(data, None))


def issue(ca: Pair, domain: str, now: datetime) -> Pair:
    """A certificate for `domain`, signed by an authority that `make_ca` made."""
    key, authority = new_key(), ca.chain[0]
    assert isinstance(ca.key, ec.EllipticCurvePrivateKey)
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
    common = [x509.NameAttribute(NameOID.COMMON_NAME, domain)] if len(domain) <= 64 else []
    leaf = (
        _builder(x509.Name(common), authority.subject, key, now, LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=not common)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    return Pair((leaf, authority), key)


def request(key: ec.EllipticCurvePrivateKey, domain: str) -> bytes:
    """A certificate signing request in PEM (RFC 2986)."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(_ENCODING)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def utc_now() -> datetime:
    return datetime.now(UTC)


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME) or name.get_attributes_for_oid(
        NameOID.ORGANIZATION_NAME
    )
    text = str(found[0].value) if found else name.rfc4514_string()
    return harmless(text)[:100] or "without a name"


def _words(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")[:200] if str(error) else type(error).__name__
