"""What builds may know of the machine's package settings: the server writes it for the api when it starts.

Addresses that carry credentials stay out unless the operator shares them, and folders are chosen so that a build never
sees more of the machine than its index needs. `python -P -m paas.build.publish SETTINGS GROUP` prints `host_binds`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from paas.build import apt_settings, package_settings
from paas.build.pythons import fetchable, url_of
from paas.build.registry import Registry, registry_file
from paas.nouns.settings import Settings
from runtime.kernel import files

_NEVER_BOUND = frozenset(
    {
        "/",
        "/etc",
        "/home",
        "/opt",
        "/root",
        "/srv",
        "/usr",
        "/usr/lib",
        "/usr/local",
        "/usr/share",
        "/var",
        "/var/lib",
    }
)
_PAGES_READ, _LINKS_READ, _PAGE_BYTES = 20, 20, 65536
_HREF = re.compile(rb"""href\s*=\s*["']([^"'#]+)""", re.IGNORECASE)


def host_binds(settings: Settings, *, group_id: int) -> list[str]:
    """Publish the machine's settings for the api, and list the host paths that builds may bind."""
    registry = publish(settings, group_id=group_id)
    apt = str(apt_settings.folder(settings.layout())) if registry.apt else ""
    return [path for path in (registry.ca_bundle, registry.uv, apt, *registry.folders) if path]


def publish(settings: Settings, *, group_id: int) -> Registry:
    """Write the settings that builds may use to `RUN/registry.json`, readable by the group (0640)."""
    go_proxy = settings.builds_go_proxy or os.environ.get("GOPROXY", "")
    uv, share = _uv_binary(), settings.builds_share_registry_credentials
    found = replace(
        package_settings.read(os.environ),
        go_proxy=go_proxy,
        python_mirror=settings.builds_python_install_mirror or os.environ.get("UV_PYTHON_INSTALL_MIRROR", ""),
        pythons=fetchable(uv, settings.builds_python_downloads_json_url),
    )
    found = shareable(found, share)
    apt, withheld = apt_settings.publish(
        settings.layout(), ca_bundle=found.ca_bundle, share_credentials=share
    )
    registry = replace(
        found, folders=_folders(found), apt=apt, withheld=(*found.withheld, *withheld),
        uv=uv, uv_version=metadata.version("uv") if uv else "",
    )  # fmt: skip
    path = registry_file(settings.layout())
    text = json.dumps(registry.to_json(), indent=1)
    files.replace(path, text, mode=0o640, owner=(-1, group_id), durable=False)
    return registry


def has_credentials(url: str) -> bool:
    """Whether an address carries a user name or a password.

    >>> has_credentials("https://user:secret@mirror.example/simple")
    True
    """
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return True


def shareable(registry: Registry, share_credentials: bool) -> Registry:
    """The settings without credentials, unless the operator shares them. Pure."""
    if share_credentials:
        return registry
    withheld: list[str] = []

    def kept(what: str, urls: Iterable[str]) -> list[str]:
        result = []
        for url in urls:
            if has_credentials(url):
                withheld.append(f"{what} {_masked(url)} carries credentials and is not given to builds")
            else:
                result.append(url)
        return result

    for key in registry.npm_auth:
        withheld.append(f"npm's {key.rpartition(':')[0]} credentials are not given to builds")
    return replace(
        registry,
        index_url="".join(kept("index", [registry.index_url])),
        extra_index_urls=tuple(kept("extra index", registry.extra_index_urls)),
        find_links=tuple(kept("find-links", registry.find_links)),
        npm_registry="".join(kept("npm registry", [registry.npm_registry])),
        npm_scopes={
            scope: url for scope, url in registry.npm_scopes.items() if kept(f"npm's {scope}", [url])
        },
        npm_auth={},
        go_proxy="".join(kept("Go's proxy", [registry.go_proxy])),
        python_mirror="".join(kept("Python's mirror", [registry.python_mirror])),
        pythons={
            release: python
            for release, python in registry.pythons.items()
            if not has_credentials(url_of(python))
        },
        proxies={name: url for name, url in registry.proxies.items() if kept(name, [url])},
        withheld=tuple(withheld),
    )


def _masked(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://***@{parts.netloc.rpartition('@')[2]}{parts.path}"


def _uv_binary() -> str:
    """The uv that was installed with the platform, else one on the PATH."""
    own = Path(sysconfig.get_path("scripts")) / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    return os.path.realpath(found) if found else ""


def _folders(registry: Registry) -> tuple[str, ...]:
    """The local folders that addresses and find-links name, existing ones, none inside another."""
    urls = (registry.index_url, *registry.extra_index_urls, *registry.find_links)
    urls += (*re.split(r"[,|]", registry.go_proxy), registry.python_mirror)
    urls += tuple({os.path.dirname(url_of(python)) for python in registry.pythons.values()})
    paths = {_reach(path) for path in map(_local_path, urls) if path and os.path.isdir(path)}
    allowed = sorted(path for path in paths if path not in _NEVER_BOUND)
    return tuple(
        path
        for path in allowed
        if not any(path.startswith(other + "/") for other in allowed if other != path)
    )


def _local_path(url: str) -> str:
    if url.startswith("file://"):
        return os.path.normpath(unquote(urlsplit(url).path))
    return os.path.normpath(url) if url.startswith("/") else ""


def _reach(folder: str) -> str:
    """The folder that an index on disk needs, which is wider when its pages link to files beside it."""
    reached = folder
    for page in sorted(Path(folder).glob("*/index.html"))[:_PAGES_READ]:
        for link in _HREF.findall(page.read_bytes()[:_PAGE_BYTES])[:_LINKS_READ]:
            target = unquote(link.decode("utf-8", "replace"))
            if "://" not in target and not target.startswith("/"):
                reached = os.path.commonpath([reached, os.path.normpath(page.parent / target)])
    return folder if reached in _NEVER_BOUND else reached


if __name__ == "__main__":
    print(json.dumps(host_binds(Settings.read(sys.argv[1]), group_id=int(sys.argv[2]))))
