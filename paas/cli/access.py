"""People: SSH keys, tokens, users, and the login of this client."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from paas.cli import output
from paas.cli.base import Answer, client, command
from paas.cli.client import Client, part
from paas.cli.inputs import read_file, read_line
from paas.cli.output import over_ssh
from paas.cli.target import login_path, read_login, remote
from paas.keys.formats import MAX_BYTES, foreign
from paas.nouns.errors import BadInput, NotFound
from paas.nouns.text import quoted
from runtime.kernel import files


@command("keys")
def keys() -> Answer:
    """List SSH keys that may push."""
    found = client().get("/keys")["keys"]
    yield found
    rows = [[item["user"] or "", item["fingerprint"], item["type"], item["comment"]] for item in found]
    output.listing("SSH keys", rows, ("USER", "FINGERPRINT", "TYPE", "COMMENT"))


@command("keys:add")
@click.argument("file", required=False)
@click.option("--name", "user", metavar="USER", help="Whose key it is; a new user is made. Else your own.")
def keys_add(file: str | None, user: str | None) -> Answer:
    """Add an SSH key: a .pub file, «-» for standard input, else the one in ~/.ssh. The first user is the administrator."""
    body = {"public_key": read_key(file), **({"user": user} if user else {})}
    with output.Progress("Adding the SSH key") as progress:
        added = client().post("/keys", body)
        role = ", the administrator" if added.get("role") == "admin" else ""
        progress.done(f"done, for {added['user']}{role}")
    yield added
    output.result(added["fingerprint"])


def read_key(file: str | None) -> str:
    """The text of a public key file; a private key is not even sent. Raises BadInput, NotFound."""
    if file is None:
        file = "-" if over_ssh() else str(_own_key())
    data = read_file(file, MAX_BYTES, over_ssh_hint="ssh paas@HOST keys:add - < key.pub")
    name = "Standard input" if file == "-" else quoted(file)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(
            f"{name} is in UTF-16.", "Save it in UTF-8; PowerShell: ... | Set-Content -Encoding ascii"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{name} is not a public key file.", "Give a .pub file of OpenSSH.") from None
    found = foreign(text)
    if found is not None and found.private:
        raise BadInput(f"{name} holds {found.name}, which must not leave this machine.", found.hint)
    return text


def _own_key() -> Path:
    for name in ("id_ed25519", "id_ecdsa", "id_rsa"):
        path = Path.home() / ".ssh" / f"{name}.pub"
        if path.exists():
            return path
    raise NotFound(
        "There is no public key in ~/.ssh.", "Name a file, or make one with: ssh-keygen -t ed25519"
    )


@command("keys:remove")
@click.argument("fingerprint")
def keys_remove(fingerprint: str) -> Answer:
    """Remove an SSH key by its fingerprint."""
    with output.Progress("Removing the SSH key"):
        removed = client().delete(f"/keys/{part(fingerprint)}")
    yield removed


@command("tokens")
def tokens() -> Answer:
    """List API tokens."""
    found = client().get("/tokens")["tokens"]
    yield found
    rows = [
        [str(item["id"]), item["name"], item["user"] or "", output.moment(item["last_used_at"])]
        for item in found
    ]
    output.listing("Tokens", rows, ("ID", "NAME", "USER", "LAST USED"))


@command("tokens:create")
@click.argument("name")
@click.option("--user", metavar="USER", help="Whose token it is; else your own.")
def tokens_create(name: str, user: str | None) -> Answer:
    """Make a token for `paas login`; it is shown once."""
    with output.Progress(f"Creating token {quoted(name)}") as progress:
        made = client().post("/tokens", {"name": name, **({"user": user} if user else {})})
        progress.done(f"done, for {made['user']}")
    yield made
    output.result(made["token"])


@command("tokens:revoke")
@click.argument("token", metavar="NAME|ID")
def tokens_revoke(token: str) -> Answer:
    """Revoke a token by its name or number."""
    with output.Progress(f"Revoking {quoted(token)}"):
        removed = client().delete(f"/tokens/{part(token)}")
    yield removed


@command("users")
def users() -> Answer:
    """List users."""
    found = client().get("/users")["users"]
    yield found
    output.listing("Users", [[item["name"], item["role"]] for item in found], ("NAME", "ROLE"))


@command("users:add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="May do everything.")
def users_add(name: str, admin: bool) -> Answer:
    """Add a user; keys and tokens are added to it by name."""
    with output.Progress(f"Adding user {quoted(name)}") as progress:
        user = client().post("/users", {"name": name, **({"role": "admin"} if admin else {})})
        progress.done(f"done, {user['role']}")
    yield user


@command("whoami")
def whoami() -> Answer:
    """Show your user name on the platform."""
    api = client()
    who = api.get("/whoami")
    yield {**who, "platform": api.target.name}
    output.note(f"on {api.target.name}" + (", administrator" if who["admin"] else ""))
    output.result(who["user"])


@command("login")
@click.argument("url")
@click.option(
    "--token", metavar="TOKEN", help="The token; else it is asked for, or read from standard input."
)
def login(url: str, token: str | None) -> Answer:
    """Use a platform elsewhere, with a token that `paas tokens:create` made there."""
    if token is None:
        token = (
            click.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else read_line("The token")
        )
    token = str(token).strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput("This is not a token.", "Make one on the server with: paas tokens:create NAME")
    target = remote(url, token)
    if not target.tls and target.host not in ("localhost", "127.0.0.1", "::1"):
        output.warn("This address is not https: whoever sees the traffic can take the token.")
    with output.Progress(f"Logging in to {quoted(url)}") as progress:
        who = Client(target).get("/whoami")
        _save_login(url, token)
        progress.done(f"done, you are {who['user']}")
    yield {**who, "url": url}


def _save_login(url: str, token: str) -> None:
    path = login_path(os.environ)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.replace(path, json.dumps({"url": url, "token": token}), mode=0o600)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}.") from error


@command("logout")
def logout() -> Answer:
    """Forget the platform elsewhere; the token stays valid until it is revoked."""
    login = read_login(os.environ)
    login_path(os.environ).unlink(missing_ok=True)
    output.note(f"Logged out of {login['url']}." if login else "You were not logged in.")
    yield {"url": login["url"] if login else None}
