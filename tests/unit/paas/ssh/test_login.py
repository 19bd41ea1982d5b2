"""What a speaker that has been taken over may not ask of the login."""

from __future__ import annotations

from pathlib import Path

import pytest

from paas.ssh import hostkey
from paas.ssh.control import SignedLogin
from paas.ssh.login import Login, ProtocolViolation


@pytest.fixture
def login(tmp_path: Path) -> Login:
    hostkey.public(tmp_path)
    return Login(tmp_path, tmp_path / "none" / "api.sock", lambda user: None)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_only_hashes_are_signed(login: Login, size: int) -> None:
    with pytest.raises(ProtocolViolation):
        login.sign(bytes(size))


@pytest.mark.parametrize(
    ("name", "algorithm", "exchanged"),
    [("paas", "ssh-ed25519", False), ("root", "ssh-ed25519", True), ("paas", "ssh-rsa", True)],
)
def test_a_proof_out_of_turn_reaches_nobody(login: Login, name: str, algorithm: str, exchanged: bool) -> None:
    if exchanged:
        assert len(login.sign(bytes(32))) > 64
    with pytest.raises(ProtocolViolation):
        login.prove(SignedLogin(name, algorithm, b"", b""))
    assert login.user is None and login.proof is None


def test_nothing_is_asked_after_the_login(login: Login) -> None:
    login.user = "ann"
    with pytest.raises(ProtocolViolation):
        login.offer(b"key")
