"""The server's own key: made once, kept at `secrets/ssh/`, readable by nobody else.

Its private half is read in short-lived processes only, so that no lasting process, nor a fork of one, has it in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko.ed25519key import Ed25519Key

from paas.nouns.errors import PaasError, Unavailable, from_json
from runtime.kernel import files
from runtime.kernel.forked import fork

NAME = "host_ed25519"
_ANSWER_BYTES = 4096


def public(folder: Path) -> bytes:
    """The public half in its wire form; the key is created if it does not exist. Raises Unavailable."""
    return _in_child(lambda: load_or_make(folder).asbytes())


def sign(folder: Path, data: bytes) -> bytes:
    """The key's signature in its wire form. Raises Unavailable."""
    return _in_child(lambda: _load(folder / NAME).sign_ssh_data(data).asbytes())


def load_or_make(folder: Path) -> Ed25519Key:
    """The host key, created if it does not exist. Raises Unavailable if it cannot be used."""
    path = folder / NAME
    try:
        if not path.exists():
            _make(path)
    except OSError as error:
        raise Unavailable(f"The host key {path} cannot be used: {error.strerror}.") from error
    return _load(path)


def _load(path: Path) -> Ed25519Key:
    try:
        if path.stat().st_mode & 0o077:
            raise Unavailable(f"Others may read the host key {path}.", f"Run: chmod 600 {path}")
        return Ed25519Key(filename=str(path))
    except OSError as error:
        raise Unavailable(f"The host key {path} cannot be used: {error.strerror}.") from error
    except Unavailable:
        raise
    except Exception as error:
        raise Unavailable(
            f"{path} is not an Ed25519 key.", "Restore it from a backup, or remove it."
        ) from error


def _in_child(work: Callable[[], bytes]) -> bytes:
    """Run `work` in a forked process. Raises PaasError."""
    reader, writer = os.pipe()

    def child() -> int:
        try:
            os.write(writer, work())
        except PaasError as error:
            os.write(writer, json.dumps(error.to_json()).encode())
            return 1
        return 0

    pid = fork("git host key", child)
    os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read(_ANSWER_BYTES)
    if os.waitpid(pid, 0)[1] == 0:
        return answer
    raise from_json(json.loads(answer) if answer else {}, 503)


def _make(path: Path) -> None:
    """Write a new key whole or not at all; of two processes that try, the first wins."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    if files.create(path, private, mode=0o600):
        files.replace(path.with_suffix(".pub"), public + b" paas\n", mode=0o644)
