"""Settings: one table from which the YAML file, the `PAAS_*` variables, `--help` and the docs page come.

Precedence: flag, environment variable, `HOME/paas.yml`, default. Standard library only, but for the YAML
file's parser, which is imported when such a file exists.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from paas.nouns import values
from paas.nouns.errors import BadInput
from paas.nouns.values import Address, Network
from runtime.home import Layout


@dataclass(frozen=True)
class Option:
    """One setting: `name` is the YAML key, dots nest; `metavar` set means there is a flag, too."""

    name: str
    parse: Callable[[str], Any]
    default: str
    sentence: str
    metavar: str = ""

    @property
    def attribute(self) -> str:
        return self.name.replace(".", "_")

    @property
    def variable(self) -> str:
        return "PAAS_" + self.attribute.upper()


def option(parse: Callable[[str], Any], default: str, sentence: str, metavar: str = "") -> Any:
    """A field of Settings that is a setting; a name `builds_…` is `builds.…` in the file."""
    return field(metadata={"option": (parse, default, sentence, metavar)})


@dataclass(frozen=True)
class Settings:
    """Every setting, parsed. Sizes are bytes, times seconds, `builds_cpu_millis` thousandths of a core."""

    # fmt: off
    home: Path = option(values.directory, "/var/lib/paas", "Everything that must survive a reboot lives here.", "DIR")
    stacks: Path = option(values.directory, "/var/cache/paas/stacks", "Base systems, shared by the machine's platforms.", "DIR")
    http: Address = option(values.address, "127.0.0.1:8080", "Where the router listens for the apps' visitors.", "ADDR:PORT")
    https: Address | None = option(values.address_or_off, "127.0.0.1:8443", "Where it listens for those who speak TLS, or `off`.", "ADDR:PORT")
    ssh: Address = option(values.address, "127.0.0.1:2222", "Where git pushes and SSH commands arrive.", "ADDR:PORT")
    api: Address = option(values.address, "127.0.0.1:8081", "Where the API listens for remote clients.", "ADDR:PORT")
    domain: str = option(values.domain, "localhost", "An app's own address is NAME.DOMAIN.", "NAME")
    api_url: str = option(values.base_url, "", "Where the API is reached from elsewhere, through its proxy: https://api.example.com. Hooks need it.")
    router_workers: int = option(values.count, "2", "Router processes.")
    trust: tuple[Network, ...] = option(values.networks, "", "Proxies whose X-Forwarded-* headers are believed: networks, with commas between.")
    proxy_protocol: tuple[Network, ...] = option(values.networks, "", "Networks whose connections begin with a PROXY header.")
    client_connections: int = option(values.count, "512", "Connections that one client address may have, per router process.")
    acme_directory: str = option(values.url, "https://acme-v02.api.letsencrypt.org/directory", "The authority that issues certificates by itself.")
    acme_email: str = option(values.email, "", "Whom that authority may write to.")
    acme_ca: Path | None = option(values.file, "", "A file with the root certificate of a private authority's own HTTPS.")
    drain_timeout_s: float = option(values.seconds, "30", "How long requests in flight may finish on an instance that leaves.")
    stop_timeout_s: float = option(values.seconds, "30", "How long a process may take to end after SIGTERM.")
    boot_timeout_s: float = option(values.seconds, "60", "How long an instance may take until it is healthy.")
    release_timeout_s: float = option(values.seconds, "600", "How long a release command may run.")
    memory_overcommit: float = option(values.ratio, "2", "How much memory the limits of all apps may promise, as a multiple of the machine's.")
    private_registries: tuple[Network, ...] = option(values.networks, "", "Private networks whose registries and git repositories may be reached, also without TLS.")
    docker_hub_mirror: str = option(values.image_mirror, "", "A registry that is asked for Docker Hub's images in its place.")
    keep_releases: int = option(values.count, "10", "Releases of an app whose images are kept for rollback.")
    log_cap_bytes: int = option(values.size, "64M", "Log kept per app.")
    push_limit_bytes: int = option(values.size, "256M", "Largest push, compressed.")
    source_limit_bytes: int = option(values.size, "1G", "Largest source tree.")
    builds_memory_bytes: int = option(values.size, "2G", "Memory of a build.")
    builds_cpu_millis: int = option(values.count, "2000", "Thousandths of a core a build may use.")
    builds_pids: int = option(values.count, "1024", "Processes a build may have.")
    builds_wall_s: float = option(values.seconds, "900", "How long the steps of a build may run together.")
    builds_disk_bytes: int = option(values.size, "8G", "What a build may write to the disk, and what its app's cache may hold.")
    builds_disk_files: int = option(values.count, "500000", "The same in files.")
    builds_cpu_pressure: int = option(values.percent, "95", "Pressure of the cpu (PSI, some avg10, percent) above which a second build waits, for a minute at most.")
    builds_memory_pressure: int = option(values.percent, "20", "Pressure of the memory above which every build waits, for a minute at most.")
    builds_io_pressure: int = option(values.percent, "80", "Pressure of the disks above which builds wait likewise.")
    builds_go_proxy: str = option(values.go_proxy, "", "Where builds get Go modules, as GOPROXY has it; else the server's GOPROXY, else Go's own.")
    builds_python_install_mirror: str = option(values.download_source, "", "Where builds fetch Pythons that no stack has, as UV_PYTHON_INSTALL_MIRROR; else uv's own source.")
    builds_python_downloads_json_url: str = option(values.download_source, "", "A list of Pythons that takes the place of uv's own, as UV_PYTHON_DOWNLOADS_JSON_URL.")
    builds_share_registry_credentials: bool = option(values.switch, "false", "Give builds the credentials in the machine's registry settings.")
    # fmt: on
    id: str = ""

    def layout(self) -> Layout:
        """The paths of this platform. `id` must be known: the server makes it at its first start."""
        identity = self.id or (self.home / "id").read_text().strip()
        return Layout(self.home, self.stacks, identity)

    def url(self, host: str) -> str:
        """The address of an app's host name, as people type it."""
        port = "" if self.http.port == 80 else f":{self.http.port}"
        return f"http://{host}{port}/"

    def app_host(self, name: str) -> str:
        return f"{name}.{self.domain}"

    def hook_url(self, id: str) -> tuple[str, str]:
        """The address of a hook, and why no forge reaches it, as a sentence; empty when one may."""
        host = self.domain if self.api.host == "0.0.0.0" else self.api.host
        address = f"{self.api_url or f'http://{host}:{self.api.port}'}/hooks/{id}"
        if self.api_url or not (host == "localhost" or host.startswith("127.")):
            return address, ""
        return address, (
            "Only this machine reaches that address. For a forge elsewhere the operator puts a proxy with a certificate"
            " before the API, and sets api_url in paas.yml."
        )

    def git_url(self, name: str) -> str:
        """With 127.0.0.1 instead of `*.localhost`, which resolvers of ssh clients do not know."""
        host = "127.0.0.1" if self.domain == "localhost" else self.domain
        return f"ssh://paas@{host}:{self.ssh.port}/{name}"

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for option in OPTIONS:
            value = getattr(self, option.attribute)
            if isinstance(value, tuple):
                value = [str(network) for network in value]
            plain[option.attribute] = str(value) if isinstance(value, Path | Address) else value
        return {**plain, "id": self.id}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        known = dict(data)
        for name in ("home", "stacks", "acme_ca"):
            known[name] = known[name] and Path(known[name])
        for name in ("http", "https", "ssh", "api"):
            known[name] = known[name] and values.address(known[name])
        for name in ("trust", "proxy_protocol", "private_registries"):
            known[name] = tuple(ip_network(text) for text in known[name])
        return cls(**known)

    @classmethod
    def read(cls, path: str | Path) -> Settings:
        """Read the file that the server wrote for its daemons (`/run/paas/ID/settings.json`)."""
        return cls.from_json(json.loads(Path(path).read_text()))


OPTIONS = tuple(
    Option(re.sub("^builds_", "builds.", each.name), *each.metadata["option"])
    for each in fields(Settings)
    if each.metadata
)
_BY_NAME = {option.name: option for option in OPTIONS}


def load(flags: Mapping[str, str | None], environ: Mapping[str, str], file: Path | None = None) -> Settings:
    """Settings from flags (by option name), the environment and `HOME/paas.yml` (or `file`).

    Raises BadInput naming the flag, variable or key and the value that breaks the rule.
    """
    chosen: dict[str, Any] = {}
    home = _home(flags, environ)
    path = file or home / "paas.yml"
    written = read_file(path) if path.is_file() else {}
    for option in OPTIONS:
        said = _said(option, flags, environ)
        if said is not None:
            origin, text = said
        elif option.name in written:
            origin, text = f"{path}: {option.name}", written[option.name]
        else:
            origin, text = option.name, option.default
        chosen[option.attribute] = _parsed(option, origin, text)
    return Settings(**chosen)


def given(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> list[tuple[Option, str]]:
    """The options that a flag or a variable sets, with their values; a path is absolute, so that it means the same
    elsewhere. Raises BadInput."""
    found = []
    for option in OPTIONS:
        said = _said(option, flags, environ)
        if said is not None:
            value = _parsed(option, *said)
            found.append((option, str(value) if isinstance(value, Path) else said[1]))
    return found


def _said(
    option: Option, flags: Mapping[str, str | None], environ: Mapping[str, str]
) -> tuple[str, str] | None:
    """The flag, else the variable, as (origin, text); None without either."""
    flag, variable = flags.get(option.name), environ.get(option.variable)
    if flag is not None:
        return "--" + option.name, flag
    return (option.variable, variable) if variable else None


def _home(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Path:
    option = _BY_NAME["home"]
    text = flags.get("home") or environ.get(option.variable) or option.default
    return Path(_parsed(option, "--home", text))


def _parsed(option: Option, origin: str, text: str) -> Any:
    try:
        return option.parse(text)
    except ValueError as error:
        raise BadInput(f"{origin}: {text!r} {error}.", option.sentence) from error


def read_file(path: Path) -> dict[str, str]:
    """The settings file as dotted names and texts. Raises BadInput for a key or value it cannot take."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = (
            f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else str(error).splitlines()[0]
        )
        raise BadInput(f"{path} cannot be read: {where}.") from error
    flat: dict[str, str] = {}
    _flatten(path, "", data if data is not None else {}, flat)
    return flat


def _flatten(path: Path, prefix: str, data: Any, flat: dict[str, str]) -> None:
    if not isinstance(data, dict):
        raise BadInput(f"{path}: {prefix.rstrip('.') or 'the file'} is not a list of `key: value` lines.")
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and any(known.startswith(name + ".") for known in _BY_NAME):
            _flatten(path, name + ".", value, flat)
        elif name not in _BY_NAME:
            near = difflib.get_close_matches(name, _BY_NAME, 1, 0.5)
            hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(_BY_NAME)}."
            raise BadInput(f"{path}: unknown key {name!r}.", hint)
        elif value is None or isinstance(value, dict | list):
            raise BadInput(f"{path}: {name} has no plain value.", _BY_NAME[name].sentence)
        else:
            flat[name] = ("true" if value else "false") if isinstance(value, bool) else str(value)
