"""Keys, tokens, users and the login on the command line, against the api."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cli import Shell
from harness.flask_api import FlaskApi
from harness.proofs import public_key

from paas.cli.target import login_path, read_login
from paas.keys.publickey import parse


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of whoever types."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


@pytest.fixture
def keys(paas: Shell) -> Iterator[None]:
    """What a test adds to the platform goes again."""
    yield
    for key in json.loads(paas("keys", "--json").out):
        paas("keys:remove", key["fingerprint"])


def test_the_own_key_is_found_and_its_fingerprint_printed(paas: Shell, home: Path, keys: None) -> None:
    assert (told := paas("keys:add")).status == 1
    assert "There is no public key in ~/.ssh." in told.err and "ssh-keygen" in told.err
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_rsa.pub").write_text(public_key("old"))
    (home / ".ssh" / "id_ed25519.pub").write_text(f"{public_key('ann')} laptop\n")
    added = paas("keys:add", "--name", "ann")
    fingerprint = parse(public_key("ann")).fingerprint
    assert (added.status, added.out) == (0, f"{fingerprint}\n")
    assert added.err.startswith("Adding the SSH key... done, for ann")
    assert f"ann   {fingerprint}  ssh-ed25519  laptop\n" in paas("keys").out
    assert paas("keys:remove", fingerprint).err == "Removing the SSH key... done\n"
    assert paas("keys:remove", fingerprint).status == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfes\0s\0h\0", "is in UTF-16."),
        (b"ssh-ed25519 \xff\xff", "is not a public key file."),
        (b"hello", ""),
        (b"", ""),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nx\n", "must not leave this machine."),
    ],
)
def test_what_is_no_public_key_is_not_added(paas: Shell, home: Path, data: bytes, message: str) -> None:
    (home / "key").write_bytes(data)
    told = paas("keys:add", str(home / "key"))
    assert (told.status, told.out) == (1, "") and " !     " in told.err
    assert message in told.err
    assert json.loads(paas("keys", "--json").out) == []


def test_a_token_is_shown_once_and_logs_in_until_it_is_revoked(
    paas: Shell, api: FlaskApi, home: Path
) -> None:
    assert paas("users:add", "zoe").err.startswith("Adding user zoe... done")
    made = paas("tokens:create", "ci", "--user", "zoe")
    assert made.err == "Creating token ci... done, for zoe\n" and made.out.startswith("paas_")
    assert made.out.strip() not in paas("tokens").out and "ci    zoe" in paas("tokens").out
    assert api.ask("GET", "/v1/whoami", token=made.out.strip()).json["user"] == "zoe"
    assert paas("tokens:revoke", "ci").status == 0
    assert api.ask("GET", "/v1/whoami", token=made.out.strip()).status == 401
    assert (told := paas("tokens:revoke", "ci")).status == 1 and "ci" in told.err


def test_a_user_is_named_with_the_role(paas: Shell) -> None:
    assert paas("users:add", "boss", "--admin").err == "Adding user boss... done, admin\n"
    assert "boss  admin\n" in paas("users").out
    assert (told := paas("users:add", "root")).status == 1 and "The name root is reserved." in told.err
    whoami = paas("whoami")
    assert whoami.out == "root\n" and whoami.err.endswith(", administrator\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["http://127.0.0.1:1", "--token", "two words"], "This is not a token."),
        (["http://127.0.0.1:1", "--token", "ümlaut"], "This is not a token."),
        (["http://127.0.0.1:1", "--token", ""], "This is not a token."),
        (["ftp://x", "--token", "paas_x"], "is not an address."),
        (["http://127.0.0.1:1", "--token", "paas_x"], "does not answer"),
    ],
)
def test_a_login_that_does_not_work_is_not_kept(
    paas: Shell, home: Path, words: list[str], message: str
) -> None:
    told = paas("login", *words)
    assert (told.status, told.out) == (1, "")
    assert message in told.err
    assert not login_path(os.environ).exists()


def test_a_logout_forgets_the_login_and_says_which(paas: Shell, home: Path) -> None:
    assert paas("logout").err == "You were not logged in.\n"
    path = login_path(os.environ)
    path.parent.mkdir(parents=True)
    path.write_text('{"url": "https://paas.example.com", "token": "paas_x"}')
    assert read_login(os.environ) is not None
    assert paas("logout").err == "Logged out of https://paas.example.com.\n"
    assert json.loads(paas("logout", "--json").out) == {"url": None} and not path.exists()
