"""The system users of the daemons, and the folders with the owners and modes that keep them apart."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from paas.nouns.errors import PaasError, Unavailable
from runtime.home import Layout
from runtime.kernel import files

CONTROL = "paas"
GIT = "paas-git"
ROUTER = "paas-router"
LOG = "paas-log"
BOX = "paas-box"
USERS = (CONTROL, GIT, ROUTER, LOG, BOX)


@dataclass(frozen=True)
class Account:
    """A system user; `name` is `root` for the daemon that needs it."""

    name: str
    uid: int
    gid: int


def account(name: str) -> Account:
    """A system user by name. Raises Unavailable with the command that makes it."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise Unavailable(f"The system user {name} does not exist.", "Run `make setup` as root.") from error
    return Account(name, entry.pw_uid, entry.pw_gid)


def ensure_accounts() -> None:
    """Make the system users that are missing. Raises Unavailable with useradd's message."""
    for name in USERS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            _make_user(name)


def _make_user(name: str) -> None:
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name]
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    if done.returncode != 0 and name not in {entry.pw_name for entry in pwd.getpwall()}:
        raise Unavailable(f"The system user {name} cannot be made: {done.stderr.strip()}.")


def ensure_identity(home: Path) -> str:
    """The home's short id, made at the first start and kept in `HOME/id`. Raises PaasError."""
    try:
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        path = home / "id"
        if not path.exists():
            files.replace(path, secrets.token_hex(3) + "\n", mode=0o644)
        identity = path.read_text().strip()
    except OSError as error:
        raise Unavailable(f"The home {home} cannot be used: {error.strerror}.") from error
    if len(identity) != 6 or any(letter not in "0123456789abcdef" for letter in identity):
        raise PaasError(
            f"{path} does not hold six hexadecimal digits.", "Restore it from a backup of the home."
        )
    return identity


@dataclass(frozen=True)
class Folder:
    path: Path
    owner: str
    group: str
    mode: int


def durable_folders(layout: Layout) -> list[Folder]:
    """The folders below the home with their owners and modes."""
    return [
        Folder(layout.home, "root", "root", 0o755),
        Folder(layout.database.parent, CONTROL, CONTROL, 0o2770),
        Folder(layout.repos, GIT, GIT, 0o700),
        Folder(layout.sources, GIT, CONTROL, 0o2770),
        Folder(layout.images, CONTROL, CONTROL, 0o2750),
        Folder(layout.images / "blobs", CONTROL, CONTROL, 0o2755),
        Folder(layout.images / "blobs" / "sha256", CONTROL, CONTROL, 0o2755),
        Folder(layout.layers, "root", "root", 0o700),
        Folder(layout.instances, "root", "root", 0o700),
        Folder(layout.volumes, "root", "root", 0o700),
        Folder(layout.caches, "root", "root", 0o700),
        Folder(layout.logs, "root", "root", 0o755),
        Folder(layout.logs / "router", ROUTER, CONTROL, 0o2770),
        Folder(layout.builds, CONTROL, CONTROL, 0o750),
        Folder(layout.secrets, "root", "root", 0o711),
        Folder(layout.secrets / "ssh", GIT, GIT, 0o700),
        Folder(layout.secrets / "certificates", CONTROL, CONTROL, 0o700),
        Folder(layout.edge, CONTROL, ROUTER, 0o2750),
        Folder(layout.edge / "certificates", CONTROL, ROUTER, 0o2750),
        Folder(layout.edge / "pages", CONTROL, ROUTER, 0o2750),
        Folder(layout.router, ROUTER, ROUTER, 0o750),
    ]


def run_folders(layout: Layout) -> list[Folder]:
    """The folders below `/run/paas/ID`."""
    return [
        Folder(layout.run.parent, "root", "root", 0o755),
        Folder(layout.run, "root", "root", 0o755),
        Folder(layout.spawner_socket.parent, "root", CONTROL, 0o750),
        Folder(layout.run_instances, "root", CONTROL, 0o750),
        Folder(layout.api_socket.parent, CONTROL, CONTROL, 0o755),
        Folder(layout.converge_socket.parent, CONTROL, CONTROL, 0o750),
        Folder(layout.git_socket.parent, GIT, CONTROL, 0o2750),
        Folder(layout.router_control, ROUTER, CONTROL, 0o2770),
    ]


def ensure_folders(folders: list[Folder]) -> None:
    """Make the folders and set owners and modes, parents first. Raises Unavailable naming the folder.

    Some lie in folders that a daemon's user can write to and so replace by links: only the topmost may be a link.
    """
    opened: dict[Path, int] = {}
    try:
        for folder in folders:
            try:
                opened[folder.path] = _ensure_folder(folder, opened.get(folder.path.parent))
            except OSError as error:
                raise Unavailable(f"{folder.path} cannot be made: {error.strerror}.") from error
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def _ensure_folder(folder: Folder, parent: int | None) -> int:
    name = folder.path if parent is None else folder.path.name
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(name, flags if parent is None else flags | os.O_NOFOLLOW, dir_fd=parent)
    owner = 0 if folder.owner == "root" else account(folder.owner).uid
    group = 0 if folder.group == "root" else account(folder.group).gid
    os.fchown(descriptor, owner, group)
    os.fchmod(descriptor, folder.mode)
    return descriptor
