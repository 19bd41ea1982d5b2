"""Packages of the build layer, unpacked while the run layer below them is still being made.

dpkg's own unpacking of a package without a `preinst` script comes to this: its files in place, its control files in
`var/lib/dpkg/info`, and a paragraph of `var/lib/dpkg/status` (deb(5), dpkg(1) «unpacked»). Configuring, and the other
packages, are left to dpkg.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runtime.image.removal import remove_path
from runtime.stack import debian
from runtime.stack.debian import Apt, StackError

_BASE = ("?essential", "?priority(required)", "apt")
"""What mmdebstrap's `minbase` has, as patterns of apt (apt-patterns(7))."""
_CHOSEN = re.compile(r"(?m)^Inst (\S+) \((\S+)")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""The names of the root folder that are links into `usr` since Debian 12."""
_ARCHIVES = "var/cache/apt/archives"


@dataclass(frozen=True)
class Unpacked:
    """`tree` is the layer so far; `status` are the paragraphs for dpkg; `left` are the archives that it has to unpack itself."""

    tree: Path
    status: tuple[str, ...]
    left: tuple[Path, ...]


def unpack(run: Iterable[str], build: Iterable[str], apt: Apt, work: Path) -> Unpacked:
    """Download what `build` needs beyond `run`, and unpack what can be. Raises StackError, OSError."""
    tree, root = work / "tree", work / "apt"
    for folder in (tree / "var/lib/dpkg/info", root / "var/lib/dpkg", root / _ARCHIVES / "partial"):
        folder.mkdir(mode=0o755, parents=True)
    (root / "var/lib/dpkg/status").touch()
    conf = debian.apt_config(root, apt, work / "ahead.conf")
    _apt(["update"], conf)
    below = _chosen([*_BASE, *run], conf)
    wanted = _chosen([*_BASE, *run, *build], conf) - below
    _apt(["download", *sorted(f"{name}={version}" for name, version in wanted)], conf, root / _ARCHIVES)
    for name in _MERGED:
        (tree / name).symlink_to(f"usr/{name}")
    archives = sorted((root / _ARCHIVES).glob("*.deb"))
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            status = list(pool.map(lambda deb: _unpack(deb, tree), archives))
    finally:
        for name in _MERGED:
            (tree / name).unlink()
    for inner, _, _ in os.walk(tree):  # the package that came last has set it, which is chance
        os.utime(inner)
    left = (deb for deb, text in zip(archives, status, strict=True) if not text)
    return Unpacked(tree, tuple(filter(None, status)), tuple(left))


def _chosen(packages: list[str], conf: Path) -> set[tuple[str, str]]:
    """What apt would install into an empty root: names and versions."""
    return set(_CHOSEN.findall(_apt(["install", "--simulate", *packages], conf)))


def _apt(words: list[str], conf: Path, folder: Path = Path("/")) -> str:
    env = debian.environment() | {"APT_CONFIG": str(conf)}
    return _output(["apt-get", "-q", "-y", *words], env=env, folder=folder)


def _unpack(deb: Path, tree: Path) -> str:
    """Put a package's files and control files into `tree`; its paragraph of dpkg's status, empty if dpkg itself must do it."""
    scripts = deb.with_suffix(".control")
    _output(["dpkg-deb", "--control", str(deb), str(scripts)])
    if (scripts / "preinst").exists():
        remove_path(scripts)
        return ""
    fields = (scripts / "control").read_text().rstrip("\n")
    name = re.search(r"(?m)^Package: (.+)$", fields)
    architecture = re.search(r"(?m)^Architecture: (.+)$", fields)
    if name is None or architecture is None:
        raise StackError(f"{deb.name} names no package")
    stem = name[1] + (f":{architecture[1]}" if "\nMulti-Arch: same" in fields else "")
    info = tree / "var/lib/dpkg/info"
    listed = _extract(deb, tree)
    (info / f"{stem}.list").write_text("".join(f"{line}\n" for line in listed))
    for path in scripts.iterdir():
        if path.name != "control":
            path.rename(info / f"{stem}.{path.name}")
    conffiles = "".join(_conffiles(info / f"{stem}.conffiles", tree))
    remove_path(scripts)
    return f"{fields}\nStatus: install ok unpacked\n{conffiles}\n"


def _conffiles(listed: Path, tree: Path) -> Iterator[str]:
    """The field of dpkg's status with a package's configuration files and their digests, as they came."""
    if not listed.exists():
        return
    yield "Conffiles:\n"
    for name in listed.read_text().splitlines():
        path = tree / name.lstrip("/")
        if path.is_file():
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            yield f" {name} {digest}\n"


def _extract(deb: Path, tree: Path) -> list[str]:
    """Unpack the archive's files; their paths, as dpkg lists them."""
    excluded = [f"--exclude=./{pattern}" for pattern in _SLIM]
    tar = ["tar", "-xv", "-p", "--numeric-owner", "--keep-directory-symlink", "--quoting-style=literal"]
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as source:
        listed = _output([*tar, *excluded, "-C", str(tree)], stdin=source.stdout)
    if source.returncode:
        raise StackError(f"dpkg-deb failed on {deb.name} with status {source.returncode}")
    paths = (line.removeprefix(".").rstrip("/") for line in listed.splitlines())
    return [path or "/." for path in paths]


_SLIM = (
    "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*",
    *(f"usr/share/doc/*/{'copyright'[:length]}[!{letter}]*" for length, letter in enumerate("copyright")),
)  # fmt: skip
"""`debian.SLIM` as patterns of tar, which has no exceptions from a pattern: names that differ from `copyright` somewhere."""


def install(unpacked: Unpacked, root: Path) -> None:
    """Install the packages in `root`, an overlay with the unpacked tree as its upper folder. Raises StackError if they do not
    fit what is there: the mirror changed since."""
    path = root / "var/lib/dpkg/status"
    path.write_text(path.read_text() + "".join(f"\n{text}" for text in unpacked.status))
    dpkg = ["chroot", str(root), "dpkg", "--force-unsafe-io", "--force-confnew"]
    with debian.no_services(root):
        if unpacked.left:
            for archive in unpacked.left:
                shutil.copy(archive, root / _ARCHIVES)
            _output([*dpkg, "--unpack", *(f"/{_ARCHIVES}/{archive.name}" for archive in unpacked.left)])
        _output([*dpkg, "--configure", "--pending"])


def _output(
    command: list[str],
    *,
    env: dict[str, str] | None = None,
    folder: Path = Path("/"),
    stdin: IO[bytes] | None = None,
) -> str:
    done = subprocess.run(
        command, env=env or debian.environment(), cwd=folder, stdin=stdin or subprocess.DEVNULL,
        capture_output=True, text=True, errors="surrogateescape", check=False,
    )  # fmt: skip
    if done.returncode:
        raise StackError(f"{command[0]} failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
