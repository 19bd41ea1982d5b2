"""Reading the machine's package settings: how pip, uv and npm are configured on this server, outside of builds.

pip and npm print theirs (`pip config list`, `npm config list`); uv's come from its environment and file.
A tool that is missing or fails has no settings.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from paas.build.registry import Registry

DEBIAN_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
TIMEOUT_S = 10
_NPM_PLAIN = ("fetch-retries", "fetch-timeout", "strict-ssl")
_NPM_DEFAULTS = {"fetch-retries": 2, "fetch-timeout": 300000, "strict-ssl": True}
_PUBLIC_NPM = "https://registry.npmjs.org"


def read(environ: Mapping[str, str]) -> Registry:
    """All settings of the machine, credentials included."""
    with ThreadPoolExecutor(2) as pool:
        pip_text = pool.submit(_ask, _pip_command(), environ)
        npm_text = pool.submit(_ask, ["npm", "config", "list", "--json"], environ)
        npmrc = npm_credentials(_npmrc_files(environ))
        return combine(
            parse_pip(pip_text.result()), parse_npm(npm_text.result()), npmrc, _uv(environ), environ
        )


def combine(
    pip: Mapping[str, str],
    npm: Mapping[str, Any],
    npmrc: Mapping[str, str],
    uv: Mapping[str, list[str]],
    environ: Mapping[str, str],
) -> Registry:
    """Merge the tools' answers; uv's own settings win over pip's. Pure, except that it checks whether certificate
    files exist."""
    index = uv["index"] or _words(pip.get("index-url"))
    extra = [*uv["extra"], *(url for url in _words(pip.get("extra-index-url")) if url not in uv["extra"])]
    links = [*uv["links"], *(url for url in _words(pip.get("find-links")) if url not in uv["links"])]
    npm_registry = str(npm.get("registry") or "").rstrip("/")
    timeout = pip.get("default-timeout") or pip.get("timeout") or ""
    return Registry(
        index_url=index[0] if index else "",
        extra_index_urls=tuple(extra),
        find_links=tuple(links),
        trusted_hosts=tuple(_words(pip.get("trusted-host"))),
        no_index=str(pip.get("no-index", "")).lower() in ("1", "true", "yes", "on"),
        timeout_s=int(float(timeout)) if timeout.replace(".", "", 1).isdigit() else None,
        ca_bundle=_bundle(pip.get("cert"), npm.get("cafile"), environ),
        proxies=_proxies(pip, npm, environ),
        npm_registry="" if npm_registry == _PUBLIC_NPM else npm_registry and npm_registry + "/",
        npm_scopes={
            key.removesuffix(":registry"): str(value)
            for key, value in npm.items()
            if key.startswith("@") and key.endswith(":registry")
        },
        npm_auth=dict(npmrc),
        npm_settings={
            key: str(npm[key]).lower() if isinstance(npm[key], bool) else str(npm[key])
            for key in _NPM_PLAIN
            if npm.get(key) is not None and npm[key] != _NPM_DEFAULTS.get(key)
        },
    )


def parse_pip(text: str) -> dict[str, str]:
    """The lines of `pip config list`, later ones first: environment before `install` before `global`. Pure."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        name, equals, shown = line.partition("=")
        section, dot, key = name.rpartition(".")
        if not equals or not dot:
            continue
        try:
            value = ast.literal_eval(shown)
        except (ValueError, SyntaxError):
            continue
        found.setdefault(section, {})[key] = str(value)
    merged = {**found.get("global", {}), **found.get("install", {}), **found.get(":env:", {})}
    return merged


def parse_npm(text: str) -> dict[str, Any]:
    """The object of `npm config list --json`. Pure."""
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def npm_credentials(files: list[Path]) -> dict[str, str]:
    """The `//host/:_authToken` lines of npmrc files, which `npm config list` shows protected only."""
    found = {}
    for path in files:
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            key, equals, value = line.strip().partition("=")
            if equals and key.startswith("//") and not value.strip().startswith("${"):
                found[key.strip()] = value.strip()
    return found


def _npmrc_files(environ: Mapping[str, str]) -> list[Path]:
    user = environ.get("npm_config_userconfig") or str(Path(environ.get("HOME", "/root")) / ".npmrc")
    return [Path("/etc/npmrc"), Path("/usr/etc/npmrc"), Path(user)]


def _pip_command() -> list[str]:
    own = Path(sys.prefix) / "bin" / "pip"
    return [str(own) if own.exists() else shutil.which("pip3") or "pip", "config", "list"]


def _ask(command: list[str], environ: Mapping[str, str]) -> str:
    """What a tool prints; nothing when it is missing, fails or hangs."""
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, timeout=TIMEOUT_S, env=dict(environ),
            cwd="/", check=False, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _uv(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """uv's settings: `UV_*`, else its user's and the machine's uv.toml."""
    found: dict[str, list[str]] = {"index": [], "extra": [], "links": []}
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/root")) / ".config")
    for path in (Path("/etc/uv/uv.toml"), Path(home) / "uv" / "uv.toml"):
        try:
            data = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
            continue
        _merge_uv(found, data)
    names = {"index": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"), "extra": ("UV_INDEX", "UV_EXTRA_INDEX_URL"), "links": ("UV_FIND_LINKS",)}  # fmt: skip
    for key, variables in names.items():
        for variable in variables:
            if environ.get(variable):
                found[key] = [word.partition("=")[2] if _is_named(word) else word
                              for word in environ[variable].replace(",", " ").split()]  # fmt: skip
                break
    return found


def _is_named(word: str) -> bool:
    """`name=https://…`, as uv lets an index be named."""
    name, equals, _ = word.partition("=")
    return bool(equals) and "/" not in name and ":" not in name


def _merge_uv(found: dict[str, list[str]], data: Mapping[str, Any]) -> None:
    if isinstance(data.get("index-url"), str):
        found["index"] = [data["index-url"]]
    for key, name in (("extra-index-url", "extra"), ("find-links", "links")):
        if isinstance(data.get(key), list):
            found[name] = [str(item) for item in data[key]]
    for item in data.get("index", []):
        if isinstance(item, dict) and isinstance(item.get("url"), str):
            if item.get("default"):
                found["index"] = [item["url"]]
            elif not item.get("explicit"):
                found["extra"] = [*found["extra"], item["url"]]


def _words(text: str | None) -> list[str]:
    return (text or "").split()


def _bundle(pip: str | None, npm: object, environ: Mapping[str, str]) -> str:
    """The certificates of the machine: what a tool is configured to use, else Debian's bundle. Others must be able to
    read the file, because a build's user is one of them."""
    candidates = (environ.get("SSL_CERT_FILE"), pip, environ.get("REQUESTS_CA_BUNDLE"), npm, DEBIAN_BUNDLE)
    for path in candidates:
        if not isinstance(path, str) or not path.startswith("/"):
            continue
        real = os.path.realpath(path)
        if os.path.isfile(real) and os.stat(real).st_mode & 0o004:
            return real
    return ""


def _proxies(pip: Mapping[str, str], npm: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        value = environ.get(name) or environ.get(name.upper())
        if value:
            found[name] = value
    for name, value in (("http_proxy", npm.get("proxy")), ("https_proxy", npm.get("https-proxy"))):
        chosen = value or pip.get("proxy")
        if chosen and isinstance(chosen, str):
            found.setdefault(name, chosen)
    return found
