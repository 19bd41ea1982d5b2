"""The machine's apt settings for builds that install packages: sources, keyrings, proxies and certificates in a folder per
stack, which the server writes when it starts and builds see at /run/apt."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from runtime.home import Layout
from runtime.image.removal import remove_path
from runtime.spec import Mount
from runtime.stack import debian
from runtime.stack.build import RECIPES

TARGET = "/run/apt"
_CREDENTIALS = re.compile(r"://[^/\s\"]*@")
_MACHINES = re.compile(r"(?i)::(CaInfo|SslCert|SslKey|Proxy-?Auto-?Detect)\b|^Dir::Etc::netrc")
"""Settings that name files or programs of this machine."""
_CA_INFO = re.compile(r'(?i)^Acquire::https::CaInfo "(/[^"]+)"')
_AUTH = ("auth.conf", "auth.conf.d")


def folder(layout: Layout) -> Path:
    """Only root gets into it: what it holds may carry credentials."""
    return layout.run / "apt"


def mount(layout: Layout, stack: str) -> Mount:
    return Mount("host", str(folder(layout) / stack), TARGET, read_only=True)


def publish(
    layout: Layout, *, ca_bundle: str, share_credentials: bool
) -> tuple[dict[str, list[str]], list[str]]:
    """Write the folder of each stack. Returns the sources by stack, and a sentence for each thing that was left out.

    A stack without a folder (no apt on this machine) is installed from Debian's public mirrors.
    """
    if folder(layout).exists():
        remove_path(folder(layout))
    folder(layout).mkdir(mode=0o700)
    sources, withheld = {}, dict[str, None]()
    with ThreadPoolExecutor(len(RECIPES)) as pool:
        read = dict(zip(RECIPES, pool.map(partial(_read, folder(layout)), RECIPES), strict=True))
    for name, apt in read.items():
        if apt is not None:
            sources[name] = _write(apt, folder(layout) / name, ca_bundle, share_credentials, withheld)
    return sources, list(withheld)


def _read(top: Path, name: str) -> debian.Apt | None:
    target = top / name
    target.mkdir()
    try:
        return debian.read_apt(RECIPES[name].suite, target)
    except debian.StackError:
        remove_path(target)
        return None


def _write(
    apt: debian.Apt, target: Path, ca_bundle: str, share_credentials: bool, withheld: dict[str, None]
) -> list[str]:
    kept = []
    for line in apt.sources:
        uri = line.split()[-3]
        if urlsplit(uri).scheme not in ("http", "https"):
            withheld[f"apt's source {uri} is on this machine and is not given to builds"] = None
        elif _CREDENTIALS.search(uri) and not share_credentials:
            shown = _CREDENTIALS.sub("://***@", uri)
            withheld[f"apt's source {shown} carries credentials and is not given to builds"] = None
        else:
            kept.append(line)
    settings = apt.settings.read_text().splitlines()
    authority = next((match[1] for match in map(_CA_INFO.match, settings) if match), ca_bundle)
    settings = [line for line in settings if not _MACHINES.search(line)]
    if not share_credentials:
        settings = [line for line in settings if not _CREDENTIALS.search(line)]
    if authority:
        shutil.copy(authority, target / "ca.crt")
        settings.append(f'Acquire::https::CaInfo "{TARGET}/ca.crt";')
    settings += _credentials(target, share_credentials, withheld)
    settings.append('Dir::Etc::sourceparts "/dev/null";')
    settings += [
        f'Dir::Etc::{key} "{TARGET}/{name}";'
        for key, name in (("sourcelist", "sources.list"), ("trustedparts", "keyrings"))
    ]
    apt.settings.write_text("".join(f"{line}\n" for line in settings))
    (target / "sources.list").write_text("".join(f"{line}\n" for line in kept))
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return kept


def _credentials(target: Path, share_credentials: bool, withheld: dict[str, None]) -> list[str]:
    """What hosts want as a login, if the machine's apt knows any; the settings that name the copy."""
    files = [debian.ETC_APT / "auth.conf", *sorted((debian.ETC_APT / "auth.conf.d").glob("*.conf"))]
    texts = [path.read_text(errors="replace") for path in files if path.is_file()]
    if not any(text.strip() for text in texts):
        return []
    if not share_credentials:
        withheld["apt's auth.conf is not given to builds"] = None
        return []
    (target / "auth.conf").write_text("\n".join(texts))
    return [f'Dir::Etc::netrc "{TARGET}/auth.conf";']
