"""Where the API of a platform is: a unix socket of this machine, or an address with a token from `paas login`."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from paas.daemon import presence
from paas.nouns.errors import Conflict, Forbidden, NotFound, PaasError, Unavailable

DEFAULT_HOME = "/var/lib/paas"
_CONNECT_TIMEOUT_S = 10.0
_SILENCE_S = 120.0
"""A stream pings every second; destroying an app may take half a minute."""


class NoAnswer(Unavailable):
    """The API did not answer, or its answer broke off: the request may have taken effect all the same."""


@dataclass(frozen=True)
class Target:
    """Where the API is: at the unix socket `path`, else at `host` and `port`."""

    name: str
    path: str = ""
    host: str = "localhost"
    port: int = 80
    tls: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    silence_s: float = _SILENCE_S
    """How long the API may send nothing."""
    pause: Callable[[float], None] = time.sleep
    """Waits between attempts to connect to a socket without a listener."""

    def connect(self) -> socket.socket:
        """Raises NoAnswer with what to do about it."""
        try:
            if self.path:
                sock = presence.connect(Path(self.path), _CONNECT_TIMEOUT_S, self.pause)
            else:
                sock = socket.create_connection((self.host, self.port), _CONNECT_TIMEOUT_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock = self._secured(sock)
        except OSError as error:
            hint, reason = "Check the address and the network.", error.strerror or str(error)
            if self.path:
                hint = "Start it with: paas server. Or see: paas server:status"
                reason = "its server does not run" if _nobody_listens(error) else reason
            raise NoAnswer(f"The platform at {self.name} does not answer: {reason}.", hint) from error
        sock.settimeout(self.silence_s)
        return sock

    def _secured(self, sock: socket.socket) -> socket.socket:
        if not self.tls:
            return sock
        import ssl

        return ssl.create_default_context().wrap_socket(sock, server_hostname=self.host)


def _nobody_listens(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError | ConnectionRefusedError)


def find_target(environ: Mapping[str, str]) -> Target:
    """The platform to talk to: `PAAS_HOME`, else the one logged in to, else /var/lib/paas of this machine.

    `PAAS_SOCKET`, which the SSH server sets, says where the socket is when the home cannot be seen.
    Raises NotFound when there is none.
    """
    if environ.get("PAAS_SOCKET"):
        return _on_socket(environ.get("PAAS_HOME") or environ["PAAS_SOCKET"], environ["PAAS_SOCKET"], environ)
    if environ.get("PAAS_HOME"):
        return _local(Path(environ["PAAS_HOME"]), environ)
    login = read_login(environ)
    if login is not None:
        return remote(login["url"], login["token"])
    home = Path(DEFAULT_HOME)
    if (home / "id").exists():
        return _local(home, environ)
    raise NotFound(
        "There is no platform on this machine, and you are not logged in to another.",
        "Start one with `paas server`, set PAAS_HOME, or use `paas login URL`.",
    )


def _local(home: Path, environ: Mapping[str, str]) -> Target:
    presence.wait_for_file(home / "id")
    try:
        identity = (home / "id").read_text().strip()
    except OSError as error:
        raise no_home(home, error, "set PAAS_HOME to another") from error
    check_own(home, identity)
    return _on_socket(str(home), f"/run/paas/{identity}/api/api.sock", environ)


def check_own(home: Path, identity: str) -> None:
    """Raises Conflict when what runs under this id is the platform of another home, which this one is a copy of."""
    try:
        owner = json.loads(Path(f"/run/paas/{identity}/settings.json").read_text())["home"]
        copied = not os.path.samefile(owner, home)
    except (OSError, ValueError, KeyError, TypeError):
        return
    if copied:
        raise Conflict(
            f"{home} has the id of {owner}, as a copied home has.",
            f"Set PAAS_HOME={owner}, or remove {home / 'id'} to make the copy a platform of its own.",
        )


def no_home(home: Path, error: OSError, otherwise: str) -> PaasError:
    """Why a folder is not (yet) the home of a platform, and what to do: `otherwise` names another one."""
    if isinstance(error, PermissionError):
        return Forbidden(f"{home} may not be read by you.", "Run the command with sudo.")
    return NotFound(
        f"There is no platform in {home}.", f"Start one there: paas server --home {home}; or {otherwise}."
    )


def _on_socket(name: str, path: str, environ: Mapping[str, str]) -> Target:
    proof = environ.get("PAAS_SSH_PROOF")
    return Target(name, path=path, headers={"X-Paas-Proof": proof} if proof else {})


def remote(url: str, token: str) -> Target:
    """A platform elsewhere. Raises PaasError when `url` is none."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise PaasError(f"{url!r} is not an address.", "It must be like https://paas.example.com:8081.")
    tls = parts.scheme == "https"
    headers = {"Authorization": f"Bearer {token}"}
    return Target(url, host=parts.hostname, port=port or (443 if tls else 80), tls=tls, headers=headers)


def login_path(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or "/root", ".config")
    return Path(base) / "paas" / "login.json"


def read_login(environ: Mapping[str, str]) -> dict[str, str] | None:
    """`{url, token}` as `paas login` left it, or None."""
    if environ.get("PAAS_SSH_PROOF"):
        return None
    try:
        data = json.loads(login_path(environ).read_text())
        return {"url": str(data["url"]), "token": str(data["token"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
