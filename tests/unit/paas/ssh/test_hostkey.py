"""The server's key: made once, private, and useless to a process that only asks for its public half."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from paas.keys.publickey import strings
from paas.nouns.errors import Unavailable
from paas.ssh import hostkey


def test_it_is_made_once_and_signs(tmp_path: Path) -> None:
    public = hostkey.public(tmp_path)
    assert hostkey.public(tmp_path) == public
    path = tmp_path / hostkey.NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == [hostkey.NAME, f"{hostkey.NAME}.pub"]
    key = load_ssh_public_key(path.with_suffix(".pub").read_bytes())
    assert isinstance(key, Ed25519PublicKey) and public.endswith(key.public_bytes_raw())
    _, signature = strings(hostkey.sign(tmp_path, b"hash"))
    key.verify(signature, b"hash")


def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    hostkey.public(tmp_path)
    path = tmp_path / hostkey.NAME
    path.chmod(0o640)
    with pytest.raises(Unavailable, match="Others may read the host key") as caught:
        hostkey.sign(tmp_path, b"hash")
    assert caught.value.hint == f"Run: chmod 600 {path}"
    path.write_text("no key")
    path.chmod(0o600)
    with pytest.raises(Unavailable, match="is not an Ed25519 key"):
        hostkey.public(tmp_path)
