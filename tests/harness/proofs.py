"""A key for each name, and logins that it signs: what an SSH client does, without one."""

from __future__ import annotations

import hashlib
import os
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from paas.keys.proof import Proof
from paas.keys.publickey import parse


def key_of(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def public_key(name: str) -> str:
    """A line for `keys:add`."""
    return key_of(name).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def wire(*parts: bytes) -> bytes:
    """SSH's strings."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def signed_by(name: str, session: bytes, login: str = "paas") -> bytes:
    """What the key of this name signs to log in."""
    raw = key_of(name).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    blob = wire(b"ssh-ed25519", raw)
    request = b"\x32" + wire(login.encode(), b"ssh-connection", b"publickey") + b"\x01"
    signature = key_of(name).sign(wire(session) + request + wire(b"ssh-ed25519", blob))
    return wire(b"ssh-ed25519", signature)


def proof_of(name: str) -> Proof:
    """A login of a session of its own."""
    session, fingerprint = os.urandom(32), parse(public_key(name)).fingerprint
    return Proof(session, "paas", "ssh-ed25519", fingerprint, signed_by(name, session), "c1")
