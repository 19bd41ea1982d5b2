"""The machine's own package registry settings, read out for the server and generated anew for builds.

The server (root, with the operator's environment) reads pip's, uv's and npm's settings once and leaves what
builds may know in `RUN/registry.json`; the api makes the build's environment and mounts of it. Nothing of it ever
lies in a layer.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from paas.nouns.settings import Settings
from runtime.home import Layout
from runtime.spec import Mount

CA_TARGET = "/etc/ssl/certs/ca-certificates.crt"
UV_TARGET = "/usr/local/bin/uv"
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
_HREF = re.compile(rb"""href\s*=\s*["']([^"'#]+)""", re.IGNORECASE)


@dataclass(frozen=True)
class Registry:
    """What builds use. Empty text and None mean: the tool's own default.

    `npm_scopes` maps `@scope` to a registry, `npm_auth` npm's `//host/:_authToken` keys to values. `folders` are
    bound read-only at their own path. `withheld` tells what was left out, a sentence each.
    """

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    no_index: bool = False
    timeout_s: int | None = None
    ca_bundle: str = ""
    proxies: dict[str, str] = field(default_factory=dict)
    npm_registry: str = ""
    npm_scopes: dict[str, str] = field(default_factory=dict)
    npm_auth: dict[str, str] = field(default_factory=dict)
    npm_settings: dict[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    uv: str = ""
    uv_version: str = ""
    withheld: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Registry:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**fields)

    def fingerprint(self) -> tuple[str, ...]:
        """What decides which packages a build gets; part of a layer's key."""
        return (self.index_url, *self.extra_index_urls, *self.find_links, str(self.no_index), self.npm_registry,
                *(f"{scope}={url}" for scope, url in sorted(self.npm_scopes.items())))  # fmt: skip


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
    """The settings without what carries credentials, unless the operator shares them. Pure."""
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
        proxies={name: url for name, url in registry.proxies.items() if kept(name, [url])},
        withheld=tuple(withheld),
    )


def build_env(registry: Registry) -> dict[str, str]:
    """The settings as pip, uv and npm take them from the environment. Pure.

    `PAAS_NPMRC` and `PAAS_UV_TOML` are the tools' user settings, which the builder writes to the home folder of
    the build, as the environment cannot say what they say.
    """
    ca = {} if not registry.ca_bundle else dict.fromkeys(
        ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
         "NODE_EXTRA_CA_CERTS", "npm_config_cafile"), CA_TARGET)  # fmt: skip
    env = {
        **ca,
        "PIP_INDEX_URL": registry.index_url,
        "PIP_EXTRA_INDEX_URL": " ".join(registry.extra_index_urls),
        "PIP_FIND_LINKS": " ".join(registry.find_links),
        "PIP_TRUSTED_HOST": " ".join(registry.trusted_hosts),
        "PIP_NO_INDEX": "1" if registry.no_index else "",
        "PIP_DEFAULT_TIMEOUT": str(registry.timeout_s or ""),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_DEFAULT_INDEX": registry.index_url,
        "UV_INDEX": " ".join(registry.extra_index_urls),
        "UV_FIND_LINKS": ",".join(registry.find_links),
        "UV_INDEX_STRATEGY": "unsafe-best-match" if registry.extra_index_urls else "",
        "UV_INSECURE_HOST": " ".join(registry.trusted_hosts),
        "UV_HTTP_TIMEOUT": str(registry.timeout_s or ""),
        "npm_config_registry": registry.npm_registry,
        "PAAS_UV_TOML": "no-index = true\n" if registry.no_index else "",
        "PAAS_NPMRC": _npmrc(registry),
        "PAAS_NPM_TOKEN": _npm_token(registry),
        **{f"npm_config_{key.replace('-', '_')}": value for key, value in registry.npm_settings.items()},
    }
    for name, url in registry.proxies.items():
        env[name] = env[name.upper()] = url
    return {name: value for name, value in env.items() if value}


def build_mounts(registry: Registry) -> tuple[Mount, ...]:
    """Read-only mounts of the certificates and of the folders that the settings name. Pure."""
    mounts = [Mount("host", folder, folder, read_only=True) for folder in registry.folders]
    if registry.ca_bundle:
        mounts.append(Mount("host", registry.ca_bundle, CA_TARGET, read_only=True))
    return tuple(mounts)


def uv_mount(registry: Registry) -> Mount:
    return Mount("host", registry.uv, UV_TARGET, read_only=True)


def host_binds(settings: Settings) -> list[str]:
    """Read the machine's settings out, leave them for the api, and name the host paths that builds may bind."""
    registry = publish(settings)
    return [path for path in (registry.ca_bundle, registry.uv, *registry.folders) if path]


def publish(settings: Settings) -> Registry:
    """Write what builds may know to `RUN/registry.json` (0640, the control plane's group)."""
    from paas.host import accounts
    from paas.build import package_settings

    found = shareable(package_settings.read(os.environ), settings.builds_share_registry_credentials)
    uv = _uv_binary()
    registry = replace(
        found, folders=_folders(found), uv=uv, uv_version=metadata.version("uv") if uv else "",
    )  # fmt: skip
    path = _path(settings.layout())
    fresh = path.with_name("registry.json.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w") as file:
        json.dump(registry.to_json(), file, indent=1)
        if os.geteuid() == 0:
            os.fchown(descriptor, 0, accounts.account(accounts.CONTROL).gid)
        os.fchmod(descriptor, 0o640)
    os.replace(fresh, path)
    return registry


def load(layout: Layout) -> Registry:
    """What `publish` wrote; the tools' defaults when it wrote nothing."""
    try:
        return Registry.from_json(json.loads(_path(layout).read_text()))
    except FileNotFoundError:
        return Registry()


def _path(layout: Layout) -> Path:
    return layout.run / "registry.json"


def _npmrc(registry: Registry) -> str:
    lines = [f"{scope}:registry={url}" for scope, url in sorted(registry.npm_scopes.items())]
    lines += [f"{key}={value}" for key, value in sorted(registry.npm_auth.items())]
    return "".join(line + "\n" for line in lines)


def _npm_token(registry: Registry) -> str:
    """The bearer token of the main registry, if there is one."""
    base = re.sub(r"^https?:", "", registry.npm_registry or "https://registry.npmjs.org/").rstrip("/")
    return registry.npm_auth.get(f"{base}/:_authToken", "")


def _masked(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://***@{parts.netloc.rpartition('@')[2]}{parts.path}"


def _uv_binary() -> str:
    """The uv that was installed with the platform, else one on the PATH."""
    import sysconfig

    own = Path(sysconfig.get_path("scripts")) / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    return os.path.realpath(found) if found else ""


def _folders(registry: Registry) -> tuple[str, ...]:
    """The local folders that addresses and find-links name, existing ones, none inside another."""
    urls = (registry.index_url, *registry.extra_index_urls, *registry.find_links)
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
    """The folder that an index on disk needs: its pages may link to files beside it."""
    reached = folder
    for page in sorted(Path(folder).glob("*/index.html"))[:20]:
        for link in _HREF.findall(page.read_bytes()[:65536])[:20]:
            target = unquote(link.decode("utf-8", "replace"))
            if "://" not in target and not target.startswith("/"):
                reached = os.path.commonpath([reached, os.path.normpath(page.parent / target)])
    return folder if reached in _NEVER_BOUND else reached
