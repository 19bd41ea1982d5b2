"""OpenSSH public keys: read a line, refuse a weak key, name it by its fingerprint. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from paas.keys.formats import MAX_BYTES, foreign
from paas.nouns.errors import BadInput

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384
_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
_GOOD = "Use a key made by `ssh-keygen -t ed25519`."


@dataclass(frozen=True)
class PublicKey:
    """`text` is `type base64`, without the comment; `fingerprint` as `ssh-keygen -l` prints it."""

    type: str
    text: str
    comment: str
    fingerprint: str


def parse(text: str) -> PublicKey:
    """Read the content of a `.pub` file: one key. Raises BadInput with what to do instead."""
    other = foreign(text)
    if other is not None:
        raise BadInput(f"This is {other.name}.", other.hint)
    if len(text) > MAX_BYTES:
        raise BadInput(f"A key of more than {MAX_BYTES} bytes is none of OpenSSH's.", _GOOD)
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) != 1:
        raise BadInput(
            f"The file holds {len(lines)} keys, and one is needed.", "Give a .pub file of OpenSSH."
        )
    words = lines[0].split(None, 2)
    if words[0] in ("ssh-dss", "ssh-dsa"):
        raise BadInput("DSA keys are too weak.", _GOOD)
    if words[0].startswith("sk-"):
        raise BadInput("Keys of security tokens are not supported.", _GOOD)
    if words[0] not in _TYPES or len(words) < 2:
        raise BadInput("This is not an OpenSSH public key.", "It must be like: ssh-ed25519 AAAA… name@host")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("The key is damaged: it is not valid base64.", "Copy the .pub file again.") from None
    key = f"{words[0]} {base64.b64encode(blob).decode()}"
    try:
        _check(key)
    except (ValueError, UnsupportedAlgorithm):
        raise BadInput("The key is damaged: its parts do not fit.", "Copy the .pub file again.") from None
    comment = re.sub(r"[^\x20-\x7e]", "?", words[2])[:200] if len(words) > 2 else ""
    return PublicKey(words[0], key, comment, fingerprint(blob))


def fingerprint(blob: bytes) -> str:
    """`SHA256:` and the digest of the key's wire form in base64 without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _check(text: str) -> None:
    """Raises BadInput if the key is too weak, ValueError if it is no valid key."""
    key = load_ssh_public_key(text.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        return
    bits = key.key_size
    if bits < MIN_RSA_BITS:
        raise BadInput(
            f"An RSA key of {bits} bits is too weak.", f"{MIN_RSA_BITS} bits are the least. {_GOOD}"
        )
    if bits > MAX_RSA_BITS or key.public_numbers().n % 2 == 0:
        raise ValueError("no modulus of RSA")


def strings(blob: bytes) -> list[bytes]:
    """Split the wire form into its strings (RFC 4251, section 5). Raises struct.error, IndexError."""
    parts, position = [], 0
    while position < len(blob):
        (length,) = struct.unpack_from(">I", blob, position)
        part = blob[position + 4 : position + 4 + length]
        if len(part) != length:
            raise IndexError
        parts.append(part)
        position += 4 + length
    return parts
