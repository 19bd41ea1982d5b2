"""Debian root file systems made with the machine's own apt: its mirrors, proxies, keyrings and credentials.

The distribution's tools run as argument lists, never through a shell. The resulting tree carries nothing of the machine
that made it: public sources, no lists, caches, logs or ids, no setuid bits.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.image.removal import remove_path

Say = Callable[[str], None]

PUBLIC_MIRROR = "http://deb.debian.org/debian"
PUBLIC_SECURITY = "http://deb.debian.org/debian-security"
ETC_APT = Path("/etc/apt")
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FAKE_EPOCH = 1672531200
"""2023-01-01 in seconds: the date for tools that write dates into files (shadow's `lastchg`)."""

_SIGNED_BY = re.compile(r"(?i)signed-by\s*[:=]\s*(/[^\s\],]+(?:[ ,]+/[^\s\],]+)*)")
_TRUSTED = re.compile(r"(?i)\btrusted\s*[:=]\s*yes\b")
_INDEX = re.compile(r"(?m)^'([^']+?)/?/dists/([^/']+)/InRelease'")
_INLINE_KEY = re.compile(r"(?is)signed-by:[ \t]*\n?( -----BEGIN PGP.*?-----END PGP[^\n]*)")
_EXPIRED = re.compile(r"Release file for (\S+) is expired")
_CREDENTIALS = re.compile(r"://[^/@\s']*@")
_KEPT_ENV = re.compile(r"(?i)(PATH|(https?|ftp|all|no)_proxy|SSL_CERT_(FILE|DIR)|TMPDIR)")


class StackError(Exception):
    """A stack cannot be built or read; the message is a sentence for people."""


@dataclass(frozen=True)
class Apt:
    """What the machine's apt knows about one Debian release: lines of sources, a folder of keyrings, settings."""

    sources: tuple[str, ...]
    keyrings: Path
    settings: Path


def environment() -> dict[str, str]:
    """The variables given to apt and dpkg: proxies of the machine, nothing of the user's session."""
    kept = {name: value for name, value in os.environ.items() if _KEPT_ENV.fullmatch(name)}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **kept,
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "SOURCE_DATE_EPOCH": str(FAKE_EPOCH),
    }


def public_sources(suite: str) -> tuple[str, ...]:
    """The sources of a plain Debian installation; written into every stack, whatever mirror built it."""
    return (
        f"deb {PUBLIC_MIRROR} {suite} main",
        f"deb {PUBLIC_MIRROR} {suite}-updates main",
        f"deb {PUBLIC_SECURITY} {suite}-security main",
    )


def read_apt(suite: str, folder: Path) -> Apt:
    """Read the machine's apt configuration for `suite`; generated files go to `folder`."""
    keyrings = folder / "keyrings"
    keyrings.mkdir()
    if DEBIAN_KEYRING.exists():
        shutil.copy(DEBIAN_KEYRING, keyrings)
    for path in sorted((ETC_APT / "trusted.gpg.d").glob("*")):
        if path.suffix in (".gpg", ".asc"):
            shutil.copy(path, keyrings)
    settings = folder / "apt.conf"
    settings.write_text("".join(f"{line}\n" for line in _machine_settings()))
    sources = _machine_sources(suite, keyrings) or public_sources(suite)
    if not any(keyrings.iterdir()) and "[trusted=yes]" not in sources[0]:
        raise StackError(
            "this machine has no key of Debian's archive; run: apt-get install debian-archive-keyring"
        )
    return Apt(sources, keyrings, settings)


def _machine_settings() -> Iterator[str]:
    """Network settings of the machine's apt (proxies, CA files, retries), none of its hooks or folders."""
    for line in _output(["apt-config", "dump"]).splitlines():
        if line.startswith("Acquire::") and not line.startswith(("Acquire::cdrom", "Acquire::IndexTargets")):
            yield line
    yield 'Acquire::Languages "none";'
    yield 'Acquire::Retries "3";'
    yield 'Dir::Etc::netrc "/etc/apt/auth.conf";'
    yield 'Dir::Etc::netrcparts "/etc/apt/auth.conf.d";'


def _machine_sources(suite: str, keyrings: Path) -> tuple[str, ...]:
    """`deb` lines for the release, as apt itself understands the machine's source files."""
    files = [ETC_APT / "sources.list", *sorted((ETC_APT / "sources.list.d").glob("*"))]
    texts = {
        path: _without_comments(path.read_text(errors="replace"))
        for path in files
        if path.suffix in (".list", ".sources") and path.is_file()
    }
    lines: dict[str, None] = {}
    for match in _INDEX.finditer(_output(["apt-get", "update", "--print-uris"])):
        uri, release = match.groups()
        if release not in (suite, f"{suite}-updates", f"{suite}-security"):
            continue
        said = {path.stem: text for path, text in texts.items() if uri in text}
        for stem, text in said.items():
            _take_keys(text, stem, keyrings)
        trusted = any(map(_TRUSTED.search, said.values()))
        lines[f"deb {'[trusted=yes] ' if trusted else ''}{uri} {release} main"] = None
    if not any(line.endswith(f" {suite} main") for line in lines):
        return ()
    return tuple(lines)


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def _take_keys(text: str, stem: str, keyrings: Path) -> None:
    """Collect the keyrings that a source file names or holds."""
    for match in _SIGNED_BY.finditer(text):
        for path in map(Path, re.split(r"[ ,]+", match.group(1))):
            if path.is_file():
                suffix = ".asc" if path.read_bytes().startswith(b"-----BEGIN") else ".gpg"
                shutil.copy(path, keyrings / f"{path.stem}{suffix}")
    for number, match in enumerate(_INLINE_KEY.finditer(text)):
        lines = [line[1:] if line[1:] != "." else "" for line in match.group(1).splitlines()]
        (keyrings / f"{stem}-{number}.asc").write_text("\n".join(lines) + "\n")


def bootstrap(root: Path, suite: str, packages: Iterable[str], apt: Apt, say: Say) -> None:
    """Make a minimal Debian with `packages` in the empty folder `root`. Raises StackError."""
    if not shutil.which("mmdebstrap"):
        raise StackError("mmdebstrap is not installed; run: apt-get install mmdebstrap")
    command = [
        "mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
        f"--include={','.join(packages)}", f"--aptopt={apt.settings}", f"--keyring={apt.keyrings}",
        "--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt={option}" for option in SLIM),
        suite, str(root), *apt.sources,
    ]  # fmt: skip
    run(command, say, prefix="I: ")


SLIM = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
"""dpkg options that leave manuals and translations out, as Debian's slim images do."""


def apt_config(root: Path, apt: Apt, conf: Path) -> Path:
    """Write `conf`, with which apt outside works on the tree `root`, and dpkg inside; the path again."""
    parts = conf.with_suffix(".none")
    parts.mkdir(exist_ok=True)
    sources = conf.with_suffix(".list")
    sources.write_text("".join(f"{line}\n" for line in apt.sources))
    options = {
        "Dir": root, "Dir::Etc::main": "/dev/null", "Dir::Etc::parts": parts, "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": parts, "Dir::Etc::trustedparts": apt.keyrings,
        "Dir::Etc::trusted": "/dev/null",
        "DPkg::Chroot-Directory": root, "DPkg::Use-Pty": "false", "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root", "APT::Keep-Downloaded-Packages": "false",
    }  # fmt: skip
    lines = [f'{name} "{value}";\n' for name, value in options.items()]
    conf.write_text("".join(lines) + apt.settings.read_text())
    return conf


def install(root: Path, packages: Iterable[str], apt: Apt, say: Say) -> None:
    """apt-get upgrade and install into the tree `root`, completing what is unpacked there. Raises StackError."""
    conf = apt_config(root, apt, apt.settings.with_name("install.conf"))
    apt_get = ["apt-get", "-q", "-y", "-o", "DPkg::Options::=--force-confnew"]
    say("Reading package lists")
    run([*apt_get, "update"], say, prefix="\0", apt_config=conf)
    say(f"Installing {', '.join(packages)}")
    with no_services(root):
        for words in (["--fix-broken", "install"], ["install", *packages]):
            run([*apt_get, *words], say, prefix="\0", apt_config=conf)


@contextmanager
def no_services(root: Path) -> Iterator[None]:
    """Packages that are installed meanwhile start nothing (invoke-rc.d(8))."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    yield
    policy.unlink()


def run(command: list[str], say: Say, *, prefix: str, apt_config: Path | None = None) -> None:
    """Run a tool; lines that start with `prefix` are progress. Raises StackError with the tool's last lines."""
    env = environment() | ({"APT_CONFIG": str(apt_config)} if apt_config else {})
    last: list[str] = []
    try:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", cwd="/",
        )  # fmt: skip
    except FileNotFoundError as error:
        raise StackError(f"{command[0]} is not installed") from error
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            line = _CREDENTIALS.sub("://", line)
            last = [*last[-19:], line.rstrip()]
            if line.startswith(prefix):
                say(line.removeprefix(prefix).strip())
    if process.returncode and (expired := next(filter(None, map(_EXPIRED.search, last)), None)):
        raise StackError(
            f"the package lists at {expired[1]} have expired: wait until the mirror has renewed them, or have the server's apt"
            ' take old ones, which may hide security updates (Acquire::Check-Valid-Until "false"; in /etc/apt/apt.conf.d)'
        )
    if process.returncode:
        raise StackError(f"{command[0]} failed with status {process.returncode}:\n" + "\n".join(last))


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise StackError(f"{command[0]} is not installed: stacks are built on Debian or Ubuntu") from error
    except subprocess.CalledProcessError as error:
        raise StackError(f"{command[0]} failed: {error.stderr.strip()}") from error


_EMPTIED = (
    "dev", "proc", "sys", "run", "tmp", "var/tmp", "var/lib/apt/lists", "var/cache/apt/archives",
    "var/cache/ldconfig", "var/cache/man",
)  # fmt: skip
_REMOVED = (
    "etc/hostname", "etc/resolv.conf", "etc/.pwd.lock", "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-",
    "var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin", "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old", "var/lib/dpkg/lock", "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock", "var/lib/apt/extended_states", "var/lib/systemd/random-seed",
    "var/lib/dbus/machine-id", "etc/machine-id",
)  # fmt: skip


def clean(tree: Path, suite: str) -> None:
    """Remove from a tree (a root, or an overlay's upper folder) everything that is of the build and not of Debian."""
    for name in _EMPTIED:
        if (tree / name).is_dir() and not (tree / name).is_symlink():
            for entry in list((tree / name).iterdir()):
                remove_path(entry)
    for path in (tree / "var/log").rglob("*"):
        if not path.is_dir() or path.is_symlink():
            path.unlink()
    for name in _REMOVED:
        (tree / name).unlink(missing_ok=True)
    for path in (tree / "var/lib/dpkg").glob("*-old"):
        path.unlink()
    if (tree / "etc/apt").is_dir():
        for path in (tree / "etc/apt/sources.list.d").glob("*"):
            path.unlink()
        sources = "".join(f"{line}\n" for line in public_sources(suite))
        (tree / "etc/apt/sources.list").write_text(sources)


def normalise(tree: Path, since: float) -> int:
    """Strip setuid bits and extended attributes, clamp times to the newest package file's; return bytes.

    Files newer than `since` (seconds, when the build began) were generated here: they get the time of the
    newest file that came out of a package, so that the same packages give the same layer.
    """
    entries = [(path, path.lstat()) for path in _walk(tree)]
    newest = max((int(s.st_mtime) for _, s in entries if s.st_mtime < since), default=FAKE_EPOCH)
    size = 0
    for path, status in entries:
        link = stat.S_ISLNK(status.st_mode)
        if not link and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            path.chmod(stat.S_IMODE(status.st_mode) & ~(stat.S_ISUID | stat.S_ISGID))
        for name in os.listxattr(path, follow_symlinks=False):
            if name != "trusted.overlay.opaque":
                os.removexattr(path, name, follow_symlinks=False)
        if status.st_mtime > newest or status.st_mtime_ns % 1_000_000_000:
            seconds = min(int(status.st_mtime), newest)
            os.utime(path, (seconds, seconds), follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            size += status.st_size
    return size


def _walk(tree: Path) -> Iterator[Path]:
    """Every path below and including `tree`, children before their folder (setting times last)."""
    for folder, folders, files in os.walk(tree, topdown=False, followlinks=False):
        for name in (*files, *(f for f in folders if Path(folder, f).is_symlink())):
            yield Path(folder, name)
        yield Path(folder)
