"""The login, checked outside of the process that reads what strangers send: that one only hands on what they signed.

The id of an SSH session is the first exchange hash that the host key signs, and the host key signs here only. A speaker
that has been taken over may replay an old hash for which it has a signature. So each connection has a random id, and the
API, which verifies the signature with every request, accepts a session from the connection that used it first only.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from paas.keys.proof import LOGINS, Proof
from paas.keys.publickey import fingerprint
from paas.nouns.errors import PaasError
from paas.receive.api import Api
from paas.ssh import hostkey
from paas.ssh.control import SignedLogin

ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""What clients may sign with."""

HASH_BYTES = 32
MAX_QUESTIONS = 64
"""Offers and proofs of one connection. paramiko gives up after ten keys that fail."""


class ProtocolViolation(Exception):
    """The speaker sent what it never sends: it is broken, or has been taken over."""


class Login:
    """The login of one connection. `on_login` is called once, with the user's name."""

    def __init__(self, keys: Path, api_socket: Path, on_login: Callable[[str], None]) -> None:
        self._keys = keys
        self._api_socket = api_socket
        self._on_login = on_login
        self._session: bytes | None = None
        self._connection = secrets.token_hex(16)
        self._questions = 0
        self.user: str | None = None
        self.proof: Proof | None = None

    def sign(self, hash: bytes) -> bytes:
        """The host key's signature of an exchange hash. Raises ProtocolViolation."""
        if len(hash) != HASH_BYTES:
            raise ProtocolViolation("a hash of another size")
        if self._session is None:
            self._session = hash
        return hostkey.sign(self._keys, hash)

    def offer(self, key: bytes) -> bool:
        """True if a user has this key. Raises ProtocolViolation."""
        self._count_question()
        try:
            return Api(self._api_socket).knows_key(fingerprint(key))
        except PaasError:
            return False

    def prove(self, attempt: SignedLogin) -> bool:
        """True if the client holds the key; from then on the connection is its user's. Raises ProtocolViolation."""
        self._count_question()
        if self._session is None or attempt.login not in LOGINS or attempt.algorithm not in ALGORITHMS:
            raise ProtocolViolation("a proof out of turn")
        proof = Proof(
            self._session,
            attempt.login,
            attempt.algorithm,
            fingerprint(attempt.key),
            attempt.signature,
            self._connection,
        )
        try:
            user = Api(self._api_socket, proof).user()
        except PaasError:
            return False
        self.user, self.proof = user, proof
        self._on_login(user)
        return True

    def _count_question(self) -> None:
        self._questions += 1
        if self._questions > MAX_QUESTIONS or self.user is not None:
            raise ProtocolViolation("a question out of turn")
