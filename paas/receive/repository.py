"""Repositories on disk: one bare repository per app id, its lock, the quarantines of pushes.

Only the git daemon writes here, and only under the app's lock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from paas.nouns.names import OBJECT_ID
from paas.nouns.units import DAY_S
from paas.receive.locks import AppLock, Slots
from runtime.kernel import files

APP_ID = re.compile(r"a[0-9a-f]{10}")
ZERO = "0" * 40
REPACK_AT = 20
UNREACHABLE_S = 7 * DAY_S
"""Objects that no branch reaches are kept for this long at least; then a repack drops them."""

_ATTEMPTS, _ATTEMPT_S = 16, 0.05
_REPACKED = "repacked"

_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tlogAllRefUpdates = false\n"


class Repository:
    """The bare repository at `path`. To change it, hold the app's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    def exists(self) -> bool:
        return (self.path / "HEAD").is_file()

    def make(self) -> None:
        """Create it if it does not exist, complete or not at all."""
        if self.exists():
            return
        fresh = self.path.with_name(f".{self.path.name}-{secrets.token_hex(4)}")
        make_bare(fresh)
        try:
            os.rename(fresh, self.path)
        except OSError:
            remove_folder(fresh)
            if not self.exists():
                raise

    def heads(self) -> dict[str, str]:
        """Branch → commit."""
        top = self.path / "refs" / "heads"
        found = {}
        for folder, _, names in os.walk(top):
            for name in names:
                if name.startswith(".") or name.endswith(
                    ".lock"
                ):  # staged: git does not take them for refs either
                    continue
                path = Path(folder, name)
                commit = path.read_text().strip()
                if OBJECT_ID.fullmatch(commit):
                    found[str(path.relative_to(top))] = commit
        return found

    def set_head(self, branch: str, commit: str | None) -> None:
        """Make `branch` the only branch, at `commit`; with None, remove all branches."""
        for other in self.heads():
            if other != branch or commit is None:
                self._ref(other).unlink(missing_ok=True)
        if commit is not None:
            path = self._ref(branch)
            self._clear_way(path)
            files.replace(path, commit + "\n", mode=0o600)
            files.replace(self.path / "HEAD", f"ref: refs/heads/{branch}\n", mode=0o600)

    def compare_and_swap(self, branch: str, old: str | None, new: str) -> bool:
        """Move the branch if it is at `old` (None: absent); True if it moved."""
        if self.heads().get(branch) != old:
            return False
        self.set_head(branch, new)
        return self.heads().get(branch) == new

    def take_in(self, quarantine: Path) -> list[str]:
        """Move a checked pack here; the names of its files. The index comes last: git ignores a pack without one."""
        source, target = quarantine / "objects" / "pack", self.objects / "pack"
        names = sorted(os.listdir(source), key=lambda name: (name.endswith(".idx"), name))
        taken = [name for name in names if not (target / name).exists()]
        for name in names:
            os.rename(source / name, target / name)
        files.sync_folder(target)
        return taken

    def drop(self, taken: list[str]) -> None:
        """Remove the files that `take_in` brought, the index first. No ref may need them."""
        for name in reversed(taken):
            (self.objects / "pack" / name).unlink(missing_ok=True)

    def keep(self, commit: str | None) -> None:
        """Keep the objects of a canary's commit, which no branch reaches; None ends that."""
        path = self.path / "refs" / "paas" / "canary"
        if commit is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            files.replace(path, commit + "\n", mode=0o600)

    def wants_repack(self, now: float) -> bool:
        """True with many packs, or with more than one for a week: old ones may hold objects that nothing reaches."""
        packs = sum(name.endswith(".pack") for name in os.listdir(self.objects / "pack"))
        done = self.path / _REPACKED
        since = (done if done.exists() else self.path / "config").stat().st_mtime
        return packs >= (REPACK_AT if now - since < UNREACHABLE_S else 2)

    def repacked(self) -> None:
        (self.path / _REPACKED).touch()

    def _ref(self, branch: str) -> Path:
        return self.path / "refs" / "heads" / branch

    def _clear_way(self, path: Path) -> None:
        """Remove a branch `a` that is in the way of `a/b`, and an empty folder `a` in the way of a branch `a`."""
        top = self.path / "refs" / "heads"
        for ancestor in reversed(path.relative_to(top).parents[:-1]):
            if (top / ancestor).is_file():
                (top / ancestor).unlink()
        if path.is_dir():
            remove_folder(path)
        path.parent.mkdir(parents=True, exist_ok=True)


class Repositories:
    """All repositories of a platform, below `repos/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    def of(self, app_id: str) -> Repository:
        return Repository(self.root / f"{_checked(app_id)}.git")

    def lock(self, app_id: str) -> AppLock:
        return AppLock(self.root / f"{_checked(app_id)}.lock")

    def slots(self, user: str, count: int, *, kind: str = "") -> Slots:
        """The slots of one user for receiving pushes, or for another `kind` of work."""
        name = hashlib.sha256(user.encode()).hexdigest()[:16]
        return Slots(self.root / "receiving" / (f"{name}.{kind}" if kind else name), count)

    @contextlib.contextmanager
    def quarantine(self, base: Repository | None) -> Iterator[Path]:
        """A bare repository for one push that sees the objects of `base`; removed at the end."""
        self.incoming.mkdir(mode=0o700, exist_ok=True)
        path = self.incoming / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        with files.locked(path, create=False):
            try:
                make_bare(path)
                if base is not None and base.exists():
                    (path / "objects" / "info" / "alternates").write_text(f"{base.objects}\n")
                yield path
            finally:
                remove_folder(path)

    def sweep_incoming(self, min_age_s: float = 60) -> int:
        """Remove the quarantines of dead pushes; how many. Living pushes may remove theirs meanwhile."""
        removed = 0
        for entry in os.scandir(self.incoming) if self.incoming.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime >= min_age_s:
                    removed += remove_unheld(Path(entry.path))
        return removed

    def remove_unknown(self, known: set[str]) -> list[str]:
        """Remove the repositories of apps that are gone, unless their lock is held; the ids of those removed."""
        removed = []
        present = {name.split(".")[0] for name in os.listdir(self.root) if name.endswith((".git", ".lock"))}
        for app_id in sorted(present - known):
            if not APP_ID.fullmatch(app_id):
                continue
            lock = self.lock(app_id)
            if not lock.acquire("clean-up"):
                continue
            try:
                if self.of(app_id).path.exists():
                    remove_folder(self.of(app_id).path)
                    removed.append(app_id)
                (self.root / f"{app_id}.lock").unlink(missing_ok=True)
            finally:
                lock.release()
        return removed

    def app_ids(self) -> list[str]:
        names = sorted(os.listdir(self.root))
        return [name[:-4] for name in names if name.endswith(".git") and APP_ID.fullmatch(name[:-4])]


def _checked(app_id: str) -> str:
    if not APP_ID.fullmatch(app_id):
        raise ValueError(f"not an app id: {app_id!r}")
    return app_id


def make_bare(path: Path) -> None:
    """An empty bare repository, without hooks, description or templates."""
    for folder in ("objects/pack", "objects/info", "refs/heads"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    (path / "config").write_text(_CONFIG)
    (path / "HEAD").write_text("ref: refs/heads/main\n")


def remove_unheld(path: Path) -> bool:
    """Remove a folder unless its lock is held; True if removed. Raises FileNotFoundError."""
    try:
        with files.locked(path, wait=False, create=False):
            remove_folder(path)
    except BlockingIOError:
        return False
    return True


def remove_folder(path: Path) -> None:
    """Remove a folder whose entries git or this daemon named. Entries may vanish meanwhile; a child of a killed process may add
    some until it dies, too."""
    for _ in range(_ATTEMPTS):
        try:
            _remove_folder(path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            time.sleep(_ATTEMPT_S)
        else:
            return


def _remove_folder(path: Path) -> None:
    for folder, folders, names in os.walk(path, topdown=False):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
        for name in folders:
            inner = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(inner) if os.path.islink(inner) else os.rmdir(inner)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)
