"""Recognise keys that are not OpenSSH public keys, and say how to convert them. Pure; the client imports it."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_BYTES = 16 * 1024
"""Maximum length of a public key's text; no key of OpenSSH is longer."""


@dataclass(frozen=True)
class ForeignKey:
    """`name` completes the sentence «This is …»; `hint` says what to do; a `private` key must not leave its machine."""

    name: str
    hint: str
    private: bool = False


_MAKE = "Use a key made by `ssh-keygen -t ed25519`."
_CONVERT = "Convert it: ssh-keygen -i{} -f FILE > key.pub"
_PUBLIC_HALF = "Give the .pub file beside it; if there is none: ssh-keygen -y -f FILE > key.pub"

_FORMATS = (
    (r"PuTTY-User-Key-File-\d", ForeignKey(
        "a private key of PuTTY", "Give its public half: puttygen FILE -O public-openssh -o key.pub", private=True)),
    (r"BEGIN PGP PRIVATE KEY BLOCK", ForeignKey(
        "a private key of OpenPGP", "Give its public half: gpg --export-ssh-key ID > key.pub", private=True)),
    (r"PRIVATE KEY", ForeignKey("a private key", _PUBLIC_HALF, private=True)),
    (r'^\{.*"kty".*"d"', ForeignKey("a private key in JSON (RFC 7517)", _MAKE, private=True)),
    (r'^\{.*"kty"', ForeignKey("a key in JSON (RFC 7517)", _MAKE)),
    (r"^---- ?BEGIN SSH2 PUBLIC KEY", ForeignKey("a public key in SSH2 form (RFC 4716)", _CONVERT.format(""))),
    (r"^-----BEGIN RSA PUBLIC KEY", ForeignKey("a public key in PEM form (PKCS #1)", _CONVERT.format(" -m PEM"))),
    (r"^-----BEGIN PUBLIC KEY", ForeignKey("a public key in PEM form (PKCS #8)", _CONVERT.format(" -m PKCS8"))),
    (r"^-----BEGIN PGP PUBLIC KEY", ForeignKey(
        "a public key of OpenPGP", "Export it for SSH: gpg --export-ssh-key ID > key.pub")),
    (r"^-----BEGIN (X509 |TRUSTED )?CERTIFICATE", ForeignKey("a certificate for TLS, which is no SSH key", _MAKE)),
    (r"^\S+-cert-v0\d@openssh\.com ", ForeignKey(
        "an OpenSSH certificate", "Give the key it was made of: the .pub file without «-cert» in its name.")),
    (r"^\d{3,5} \d+ \d{100,}", ForeignKey("a key of SSH's first version, which is too weak", _MAKE)),
    (r"^(?!(ssh|ecdsa|sk)-)[^\n]*\s(ssh-\w+|ecdsa-sha2-\w+) AAAA", ForeignKey(
        "a line of authorized_keys or known_hosts", "Give the key alone, from its type on: ssh-ed25519 AAAA…")),
)  # fmt: skip


def foreign(text: str) -> ForeignKey | None:
    """The format that the text is in, if it is a known one."""
    text = text.lstrip("\ufeff \t\r\n")
    for pattern, found in _FORMATS:
        if re.search(pattern, text, re.DOTALL):
            return found
    return None
