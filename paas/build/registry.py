"""The package registry settings of builds, and the environment and mounts that tell pip, uv and npm about them.

`publish` writes them when the server starts, from what `package_settings` reads; the api loads them for each build.
Nothing of them ever lies in a layer.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from buildpacks.plan import TOOLS
from runtime.home import Layout
from runtime.spec import Mount

CA_TARGET = "/etc/ssl/certs/ca-certificates.crt"
BARE_CA_TARGET = TOOLS + "/ca-certificates.crt"
"""Where a bare step has the certificates: its image's own file is the image's to replace."""
UV_TARGET = "/usr/local/bin/uv"


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
    go_proxy: str = ""
    """As in GOPROXY: addresses, `direct` or `off`, with commas or bars between."""
    apt: dict[str, list[str]] = field(default_factory=dict)
    """apt's sources by stack, for which the server wrote settings (`apt_settings`)."""
    python_mirror: str = ""
    pythons: dict[str, dict[str, str]] = field(default_factory=dict)
    """The releases of CPython that uv can fetch here: `key`, and `entry` of the operator's list of downloads, as JSON."""
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


def build_env(registry: Registry, *, bare: bool = False) -> dict[str, str]:
    """The settings as pip, uv and npm take them from the environment, in a bare step or another one. Pure.

    `PAAS_NPMRC` and `PAAS_UV_TOML` are the tools' user settings, which the builder writes to the home folder of
    the build, as the environment cannot say what they say.
    """
    ca = {} if not registry.ca_bundle else dict.fromkeys(
        ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
         "NODE_EXTRA_CA_CERTS", "npm_config_cafile"), BARE_CA_TARGET if bare else CA_TARGET)  # fmt: skip
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
        "GOPROXY": registry.go_proxy,
        "UV_PYTHON_INSTALL_MIRROR": registry.python_mirror,
        "PAAS_UV_TOML": "no-index = true\n" if registry.no_index else "",
        "PAAS_NPMRC": _npmrc(registry),
        "PAAS_NPM_TOKEN": _npm_token(registry),
        **{f"npm_config_{key.replace('-', '_')}": value for key, value in registry.npm_settings.items()},
    }
    for name, url in registry.proxies.items():
        env[name] = env[name.upper()] = url
    return {name: value for name, value in env.items() if value}


def build_mounts(registry: Registry, *, bare: bool = False) -> tuple[Mount, ...]:
    """Read-only mounts of the certificates and of the folders that the settings name. Pure."""
    mounts = [Mount("host", folder, folder, read_only=True) for folder in registry.folders]
    if registry.ca_bundle:
        target = BARE_CA_TARGET if bare else CA_TARGET
        mounts.append(Mount("host", registry.ca_bundle, target, read_only=True))
    return tuple(mounts)


def uv_mount(registry: Registry) -> Mount:
    return Mount("host", registry.uv, UV_TARGET, read_only=True)


def load(layout: Layout) -> Registry:
    """What `publish` wrote; the tools' defaults when it wrote nothing."""
    try:
        return Registry.from_json(json.loads(registry_file(layout).read_text()))
    except FileNotFoundError:
        return Registry()


def registry_file(layout: Layout) -> Path:
    """Where the server leaves the settings for the api."""
    return layout.run / "registry.json"


def _npmrc(registry: Registry) -> str:
    lines = [f"{scope}:registry={url}" for scope, url in sorted(registry.npm_scopes.items())]
    lines += [f"{key}={value}" for key, value in sorted(registry.npm_auth.items())]
    return "".join(line + "\n" for line in lines)


def _npm_token(registry: Registry) -> str:
    """The bearer token of the main registry, if there is one."""
    base = re.sub(r"^https?:", "", registry.npm_registry or "https://registry.npmjs.org/").rstrip("/")
    return registry.npm_auth.get(f"{base}/:_authToken", "")
