"""The proof of a login over SSH holds for one key, one session, one user name and one algorithm."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from harness.proofs import wire

from paas.keys.proof import Proof, Sessions
from paas.keys.publickey import parse

SESSION = bytes(range(32))
Key = Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
RSA = rsa.generate_private_key(65537, 2048)


def mpint(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def ecdsa(hash: HashAlgorithm) -> Callable[[ec.EllipticCurvePrivateKey, bytes], bytes]:
    return lambda key, data: wire(*map(mpint, decode_dss_signature(key.sign(data, ec.ECDSA(hash)))))


def pkcs1(hash: HashAlgorithm) -> Callable[[rsa.RSAPrivateKey, bytes], bytes]:
    return lambda key, data: key.sign(data, padding.PKCS1v15(), hash)


KINDS: dict[str, tuple[Key, Callable[..., bytes]]] = {
    "ssh-ed25519": (Ed25519PrivateKey.generate(), lambda key, data: key.sign(data)),
    "ecdsa-sha2-nistp256": (ec.generate_private_key(ec.SECP256R1()), ecdsa(SHA256())),
    "ecdsa-sha2-nistp384": (ec.generate_private_key(ec.SECP384R1()), ecdsa(SHA384())),
    "ecdsa-sha2-nistp521": (ec.generate_private_key(ec.SECP521R1()), ecdsa(SHA512())),
    "rsa-sha2-256": (RSA, pkcs1(SHA256())),
    "rsa-sha2-512": (RSA, pkcs1(SHA512())),
    "ssh-rsa": (RSA, pkcs1(SHA1())),
}


def public(key: Key) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def made(algorithm: str, session: bytes = SESSION, login: str = "paas") -> Proof:
    key, sign = KINDS[algorithm]
    blob = base64.b64decode(public(key).split()[1])
    request = b"\x32" + wire(login.encode(), b"ssh-connection", b"publickey") + b"\x01"
    signature = sign(key, wire(session) + request + wire(algorithm.encode(), blob))
    return Proof(
        session, login, algorithm, parse(public(key)).fingerprint, wire(algorithm.encode(), signature), "c1"
    )


GOOD = [kind for kind in KINDS if kind != "ssh-rsa"]


@pytest.mark.parametrize("algorithm", GOOD)
def test_a_signature_proves_its_key_and_nothing_else(algorithm: str) -> None:
    proof, key = made(algorithm), public(KINDS[algorithm][0])
    assert Proof.decode(proof.encode()) == proof
    assert proof.holds(key)
    others = {public(other) for other, _ in KINDS.values()} - {key}
    assert len(others) == 4 and not any(proof.holds(other) for other in others)
    for changed in (
        replace(proof, session=bytes(32)),
        replace(proof, session=b""),
        replace(proof, login="git"),
        replace(proof, signature=proof.signature[:-1]),
        replace(proof, signature=proof.signature + b"\0"),
        replace(proof, signature=wire(algorithm.encode(), bytes(64))),
        replace(proof, signature=b""),
        *(replace(proof, algorithm=other) for other in KINDS if other != algorithm),
        *(replace(proof, signature=made(other).signature) for other in KINDS if other != algorithm),
    ):
        assert not changed.holds(key), changed


def test_only_the_platforms_user_names_and_no_weak_hash() -> None:
    assert made("ssh-ed25519", login="git").holds(public(KINDS["ssh-ed25519"][0]))
    assert not made("ssh-ed25519", login="root").holds(public(KINDS["ssh-ed25519"][0]))
    assert not made("ssh-ed25519", session=b"").holds(public(KINDS["ssh-ed25519"][0]))
    assert not made("ssh-rsa").holds(public(RSA))


@pytest.mark.parametrize("bits", [-1, 0, 1 << 700])
def test_numbers_of_an_ecdsa_signature_may_be_anything(bits: int) -> None:
    numbers = wire(bits.to_bytes(100, "big", signed=True), mpint(1))
    proof = replace(made("ecdsa-sha2-nistp256"), signature=wire(b"ecdsa-sha2-nistp256", numbers))
    assert not proof.holds(public(KINDS["ecdsa-sha2-nistp256"][0]))


@pytest.mark.parametrize(
    "text", ["", "ann", "a b c d e f", "paas x SHA256:x c1 ! AA==", "paas x SHA256:x c1 AA== é"]
)
def test_what_is_no_proof_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Proof.decode(text)


@pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-dss AAAA", "é é"])
def test_a_key_that_is_none_proves_nothing(key: str) -> None:
    assert not made("ssh-ed25519").holds(key)


def test_a_session_is_taken_from_the_connection_alone_that_brought_it_first() -> None:
    sessions, proof = Sessions(most=3), made("ssh-ed25519")
    assert sessions.is_of(proof) and sessions.is_of(proof)
    assert not sessions.is_of(replace(proof, connection="c2"))
    for number in range(10):
        assert sessions.is_of(replace(proof, session=bytes([number]) * 32))
    assert len(sessions._connections) == 3
