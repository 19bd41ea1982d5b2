"""The proof of a login over SSH: the client's signature, which the api verifies itself.

The client's key signs the session id together with the request (RFC 4252, section 7). The process that parses untrusted
input can pass such a signature on, but cannot make one.
"""

from __future__ import annotations

import base64
import binascii
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from paas.keys.publickey import strings

HEADER = "X-Paas-Proof"
LOGINS = ("paas", "git")
"""The user names that SSH clients may give; the key alone identifies the user."""

_REQUEST, _YES = b"\x32", b"\x01"
_HASHES: dict[str, HashAlgorithm] = {
    "rsa-sha2-256": SHA256(), "rsa-sha2-512": SHA512(),
    "ecdsa-sha2-nistp256": SHA256(), "ecdsa-sha2-nistp384": SHA384(), "ecdsa-sha2-nistp521": SHA512(),
}  # fmt: skip


@dataclass(frozen=True)
class Proof:
    """One login: `session` is the SSH session id, `signature` as received, `fingerprint` names the key. The monitor draws
    `connection` at random: it alone knows that this session belongs to that connection."""

    session: bytes
    login: str
    algorithm: str
    fingerprint: str
    signature: bytes
    connection: str

    def encode(self) -> str:
        """The value of the header; `decode` reads it."""
        binary = (base64.b64encode(part).decode() for part in (self.session, self.signature))
        return " ".join((self.login, self.algorithm, self.fingerprint, self.connection, *binary))

    @classmethod
    def decode(cls, text: str) -> Proof:
        """Raises ValueError."""
        login, algorithm, fingerprint, connection, session, signature = text.split(" ")
        try:
            numbers = [base64.b64decode(part, validate=True) for part in (session, signature)]
        except binascii.Error as error:
            raise ValueError("no base64") from error
        return cls(numbers[0], login, algorithm, fingerprint, numbers[1], connection)

    def holds(self, public_key: str) -> bool:
        """True if this key (`type base64`, as in the store) made the signature for this session."""
        kind, _, blob = public_key.partition(" ")
        if self.login not in LOGINS or not self.session:
            return False
        try:
            algorithm, signature = strings(self.signature)
            if algorithm.decode() != self.algorithm:
                return False
            self._verify(public_key, kind, signature, self._signed(base64.b64decode(blob)))
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, IndexError, KeyError, struct.error):
            return False
        return True

    def _signed(self, blob: bytes) -> bytes:
        words = (self.login, "ssh-connection", "publickey")
        user, service, method = (_string(word.encode()) for word in words)
        key = _string(self.algorithm.encode()) + _string(blob)
        return _string(self.session) + _REQUEST + user + service + method + _YES + key

    def _verify(self, public_key: str, kind: str, signature: bytes, signed: bytes) -> None:
        key = load_ssh_public_key(public_key.encode())
        if isinstance(key, rsa.RSAPublicKey) and self.algorithm.startswith("rsa-"):
            whole = signature.rjust((key.key_size + 7) // 8, b"\0")
            key.verify(whole, signed, padding.PKCS1v15(), _HASHES[self.algorithm])
        elif self.algorithm != kind:
            raise ValueError("another algorithm")
        elif isinstance(key, Ed25519PublicKey):
            key.verify(signature, signed)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            r, s = (int.from_bytes(part, "big", signed=True) for part in strings(signature))
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(_HASHES[self.algorithm]))
        else:
            raise ValueError("another kind of key")


class Sessions:
    """The connection of each session, for the newest `most` sessions. Thread-safe."""

    def __init__(self, most: int = 20_000) -> None:
        self._most = most
        self._connections: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()

    def is_of(self, proof: Proof) -> bool:
        """False if another connection used this session first: the proof has been replayed."""
        with self._lock:
            first = self._connections.setdefault(proof.session, proof.connection)
            self._connections.move_to_end(proof.session)
            while len(self._connections) > self._most:
                self._connections.popitem(last=False)
        return first == proof.connection


def _string(part: bytes) -> bytes:
    return struct.pack(">I", len(part)) + part
