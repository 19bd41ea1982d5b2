"""OpenSSH public keys: what is read, what is refused and why."""

from __future__ import annotations

import base64
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_ssh_public_key, ssh_key_fingerprint

from paas.keys.formats import foreign
from paas.keys.publickey import parse
from paas.nouns.errors import BadInput


def wire(*parts: bytes) -> str:
    return base64.b64encode(b"".join(struct.pack(">I", len(part)) + part for part in parts)).decode()


def rsa(bits: int, exponent: bytes = b"\x01\x00\x01", last: int = 1) -> str:
    modulus = (1 << (bits - 1)) | last
    return "ssh-rsa " + wire(b"ssh-rsa", exponent, modulus.to_bytes(bits // 8 + 1, "big"))


ED25519 = "ssh-ed25519 " + wire(b"ssh-ed25519", b"k" * 32)


@pytest.mark.parametrize("form", ["RFC4716", "PEM", "PKCS8"])
def test_a_key_in_another_public_form_is_named_and_the_command_converts_it(tmp_path: Path, form: str) -> None:
    path = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "", "-f", str(path)], check=True
    )
    words = ["ssh-keygen", "-e", "-m", form, "-f", f"{path}.pub"]
    exported = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    with pytest.raises(BadInput, match="This is a public key in ") as caught:
        parse(exported)
    (tmp_path / "FILE").write_text(exported)
    command = caught.value.hint.removeprefix("Convert it: ")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert parse((tmp_path / "key.pub").read_text()) == parse(Path(f"{path}.pub").read_text())


@pytest.mark.parametrize(
    ("text", "name", "private"),
    [
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "a private key of PuTTY", True),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "a private key", True),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "a private key", True),
        ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n", "a private key", True),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "a private key of OpenPGP", True),
        ('{\n "kty": "OKP", "d": "x"}', "a private key in JSON (RFC 7517)", True),
        ('{"kty": "OKP", "x": "x"}', "a key in JSON (RFC 7517)", False),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n", "a public key of OpenPGP", False),
        ("-----BEGIN CERTIFICATE-----\n", "a certificate for TLS, which is no SSH key", False),
        ("ssh-ed25519-cert-v01@openssh.com AAAA x\n", "an OpenSSH certificate", False),
        (f"2048 65537 {'9' * 600} me\n", "a key of SSH's first version, which is too weak", False),
        (f"host.example,10.0.0.1 {ED25519}", "a line of authorized_keys or known_hosts", False),
    ],
)
def test_every_other_form_has_a_name_and_a_way_out(text: str, name: str, private: bool) -> None:
    found = foreign(text)
    assert found is not None and (found.name, found.private) == (name, private)
    with pytest.raises(BadInput, match="This is") as caught:
        parse(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    "options",
    [
        ("ed25519",),
        ("rsa", "-b", "2048"),
        ("ecdsa", "-b", "256"),
        ("ecdsa", "-b", "384"),
        ("ecdsa", "-b", "521"),
    ],
    ids=str,
)
def test_the_fingerprint_is_ssh_keygens(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "me@host", "-f", path, "-t", *options], check=True)
    listed = subprocess.run(["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True).stdout
    line = path.with_suffix(".pub").read_text()
    key = parse(line)
    assert (key.fingerprint, key.comment) == (listed.split()[1], "me@host")
    assert key.text == " ".join(line.split()[:2])
    digest = ssh_key_fingerprint(load_ssh_public_key(line.encode()), SHA256())
    assert key.fingerprint == f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def test_comments_and_blank_lines_of_the_file_are_skipped() -> None:
    assert parse(f"\n# my key\n  {ED25519} a b c\r\n\n").comment == "a b c"


def test_a_comment_cannot_carry_control_characters() -> None:
    assert parse(f"{ED25519} a\x1b[31mb\u202e").comment == "a?[31mb?"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 keys"),
        (f"{ED25519}\n{ED25519}", "2 keys"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nxxxx\n", "private key"),
        ("hello world", "not an OpenSSH public key"),
        ("ssh-ed25519", "not an OpenSSH public key"),
        (f'command="id" {ED25519}', "a line of authorized_keys"),
        ("ssh-dss AAAA", "DSA"),
        ("sk-ssh-ed25519@openssh.com AAAA", "security tokens"),
        ("ssh-ed25519 !!!!", "base64"),
        ("ssh-ed25519 AAAA", "do not fit"),
        ("ssh-ed25519 " + wire(b"ssh-ed25519", b"k" * 31), "do not fit"),
        ("ssh-ed25519 " + wire(b"ssh-ed25519", b"k" * 32, b"more"), "do not fit"),
        ("ssh-ed25519 " + wire(b"ssh-rsa", b"k" * 32), "do not fit"),
        ("ssh-ed25519 " + base64.b64encode(b"\xff\xff\xff\xffx").decode(), "do not fit"),
        (rsa(1024), "1024 bits"),
        (rsa(2048, b"\x02"), "do not fit"),
        (rsa(2048, b"\x01"), "do not fit"),
        (rsa(2048, last=0), "do not fit"),
        (rsa(2048) + "AAAA", "do not fit"),
        (rsa(32768), "do not fit"),
        ("ecdsa-sha2-nistp256 " + wire(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" * 64), "do not fit"),
        ("ecdsa-sha2-nistp256 " + wire(b"ecdsa-sha2-nistp256", b"nistp384", b"\x04" * 65), "do not fit"),
        ("ecdsa-sha2-nistp256 " + wire(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" * 65), "do not fit"),
        ("ssh-ed25519 " + "A" * 20_000, "more than 16384 bytes"),
    ],
)
def test_what_is_refused_says_why(text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert said in caught.value.message
    assert caught.value.hint


def test_rsa_of_2048_bits_is_the_least() -> None:
    assert parse(rsa(2048)).type == "ssh-rsa"
