"""Who logs in, judged beside the process that reads what strangers send: it hands on what they signed.

The number of an SSH session is the first hash of it that the host key signs, and the host key signs here only. A speaker
that has been taken over may name an old hash, for which it has a signature: so each connection has a name of its own, and
the api, which judges the signature with every request, takes a session from the connection alone that brought it first.
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
from paas.ssh.control import Proving

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
MOST_QUESTIONS = 64
"""Offers and proofs of one connection: ten keys that fail end it anyway."""


class Nonsense(Exception):
    """The speaker asked for what it never asks for."""


class Gate:
    """The login of one connection. `on_login` hears the user's name, once."""

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
        """The host key's signature of an exchange hash. Raises Nonsense."""
        if len(hash) != HASH_BYTES:
            raise Nonsense("a hash of another size")
        if self._session is None:
            self._session = hash
        return hostkey.sign(self._keys, hash)

    def offer(self, key: bytes) -> bool:
        """Whether somebody has this key. Raises Nonsense."""
        self._count()
        try:
            return Api(self._api_socket).knows_key(fingerprint(key))
        except PaasError:
            return False

    def prove(self, given: Proving) -> bool:
        """Whether the client holds the key; from then on this connection is its user's. Raises Nonsense."""
        self._count()
        if self._session is None or given.login not in LOGINS or given.algorithm not in ALGORITHMS:
            raise Nonsense("a proof out of turn")
        proof = Proof(
            self._session,
            given.login,
            given.algorithm,
            fingerprint(given.key),
            given.signature,
            self._connection,
        )
        try:
            user = Api(self._api_socket, proof).user()
        except PaasError:
            return False
        self.user, self.proof = user, proof
        self._on_login(user)
        return True

    def _count(self) -> None:
        self._questions += 1
        if self._questions > MOST_QUESTIONS or self.user is not None:
            raise Nonsense("a question out of turn")
