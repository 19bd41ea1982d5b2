"""Routing settings of an app or of one of its domains. One table gives the CLI's words and help, the checks, and the
flags in the router's table. Pure.

The values of an app are kept by domain and name; `APP_WIDE` is the domain that stands for all of them. Beside the
settings of the table there are `AUTH` ({user: hashed password}) and `PAGES` ({code: file}).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from paas.nouns.errors import BadInput
from paas.nouns.names import DomainName, shown, shown_limit
from paas.nouns.units import DAY_S, YEAR_S, read_duration, read_size, read_switch, written_duration

APP_WIDE = ""
AUTH = "auth"
PAGES = "pages"
PAGE_BYTES = 64 * 1024
MOST_USERS = 100
MOST_NETWORKS = 500
MOST_TABLE_BYTES = 256 * 1024
"""What the settings of one app may take in the router's table: each worker reads it whole at every change."""
PAUSE_QUEUE = 10_000
"""Requests of an app that may wait while it is paused."""

Values = Mapping[str, Any]
"""Name → value, as the store keeps them."""

_PATH = re.compile(r"/[!-~]{0,199}")


@dataclass(frozen=True)
class Kind:
    """How a value is parsed (ValueError says what the text is not), and how it is written so that it parses again."""

    parse: Callable[[str], Any]
    show: Callable[[Any], str]


def _switch(text: str) -> bool:
    value = read_switch(text)
    if value is None:
        raise ValueError("is neither on nor off")
    return value


def _size(text: str) -> int:
    size = 0 if text == "none" else read_size(text)
    if size is None or size > 1 << 50:
        raise ValueError("is not a size, as in 10M, or none")
    return size


def _duration(lowest: int, highest: int) -> Kind:
    """Whole seconds."""
    bounds = f"from {written_duration(lowest)} to {written_duration(highest)}"

    def parse(text: str) -> int:
        seconds = read_duration(text)
        if seconds is None or not lowest <= seconds <= highest:
            raise ValueError(f"is not a time {bounds}, as in 30s, 5m or 1h")
        return seconds

    return Kind(parse, written_duration)


def _count(lowest: int, highest: int, nothing: str = "") -> Kind:
    """A whole number. `nothing`, if given, is the word for 0."""

    def parse(text: str) -> int:
        if nothing and text == nothing:
            return 0
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            also = f", or {nothing}" if nothing else ""
            raise ValueError(f"is not a whole number from {lowest} to {highest}{also}")
        return int(text)

    return Kind(parse, lambda value: str(value or nothing or 0))


def _host(text: str) -> str:
    if text == "none":
        return ""
    if text.startswith("*"):
        raise ValueError("is a wildcard, and a client can only be sent to one host")
    try:
        return DomainName.parse(text)
    except BadInput:
        raise ValueError("is not a host name, as in www.example.com, or none") from None


def _path(text: str) -> str:
    if text == "none":
        return ""
    if not _PATH.fullmatch(text) or "#" in text:
        raise ValueError("is not a path, as in /healthz, or none")
    return text


def _networks(text: str) -> list[str]:
    if text == "everybody":
        return []
    networks = [network(word) for word in text.split(",") if word]
    if len(networks) > MOST_NETWORKS:
        raise ValueError(f"has more than {MOST_NETWORKS} networks")
    return list(dict.fromkeys(networks))


def network(text: str) -> str:
    """An address or network in its usual form: `10.0.0.0/8`. Raises ValueError."""
    try:
        return str(ip_network(text.strip(), strict=False))
    except ValueError:
        raise ValueError("is not an address or a network, as in 10.0.0.0/8") from None


_SWITCH = Kind(_switch, lambda value: "on" if value else "off")
_SIZE = Kind(_size, lambda value: shown_limit("memory_bytes", value) if value else "none")
_HOST = Kind(_host, lambda value: value or "none")
_HEALTH_PATH = Kind(_path, lambda value: value or "none")
_NETWORKS = Kind(_networks, lambda value: ",".join(value) or "everybody")


@dataclass(frozen=True)
class Setting:
    """One row. `flag` is the name in the router's table (dots nest). `default` is shown while nothing is set. A setting
    that is `whole_app` cannot differ by domain."""

    name: str
    kind: Kind
    flag: str
    default: str
    sentence: str
    whole_app: bool = False

    def read(self, text: object) -> Any:
        """Parse what was typed. Raises BadInput."""
        if not isinstance(text, str):
            raise BadInput(f"{self.name}: {shown(text)} is not text.", self.sentence)
        try:
            return self.kind.parse(text.strip())
        except ValueError as error:
            raise BadInput(f"{self.name}: {shown(text)} {error}.", self.sentence) from None


SETTINGS: tuple[Setting, ...] = (
    Setting("maintenance", _SWITCH, "maintenance", "off", "Answer every request with the maintenance page (503, H80)."),
    Setting("pause", _duration(1, 600), "pause", "off", "Hold every request this long at most, then 503, H11.", True),
    Setting("body-limit", _SIZE, "body_limit_bytes", "none", "Refuse longer request bodies (413)."),
    Setting("first-byte-timeout", _duration(1, 3600), "first_byte_s", "30s", "How long the app may take to begin its answer (503, H12)."),
    Setting("idle-timeout", _duration(1, DAY_S), "rolling_s", "55s", "How long nothing may move between two bytes, and in WebSockets (H15)."),
    Setting("canonical-host", _HOST, "canonical_host", "none", "Redirect requests for other hosts of the app to this one."),
    Setting("https-redirect", _SWITCH, "https_redirect", "off", "Redirect plain requests to https."),
    Setting("hsts", _duration(0, 10 * YEAR_S), "hsts_s", "0s", "Tell browsers to use nothing but https for this long."),
    Setting("sticky", _SWITCH, "sticky", "off", "Keep each client at its instance by a signed cookie."),
    Setting("compress", _SWITCH, "compress", "off", "Compress answers for clients that accept it."),
    Setting("allow", _NETWORKS, "allow", "everybody", "Networks that may ask, with commas between; others get 403."),
    Setting("max-requests", _count(1, 1_000_000, "none"), "max_inflight", "none", "Requests in flight in the whole app; more of them wait.", True),
    Setting("queue", _count(0, 1_000_000), "queue", "100", "How many may wait for max-requests; more are refused (503, H11).", True),
    Setting("queue-timeout", _duration(1, 600), "queue_s", "30s", "How long one may wait there (503, H11).", True),
    Setting("health-path", _HEALTH_PATH, "health.path", "none", "Ask each instance for this path, and leave out those that fail.", True),
    Setting("health-interval", _duration(1, 3600), "health.interval_s", "5s", "How often.", True),
    Setting("health-timeout", _duration(1, 60), "health.timeout_s", "2s", "How long an instance may take to answer that.", True),
    Setting("health-fails", _count(1, 100), "health.fails", "2", "After how many failures in a row it is left out.", True),
)  # fmt: skip

BY_NAME = {setting.name: setting for setting in SETTINGS}
_SHARED = ("max-requests", "queue")


def setting(name: object) -> Setting:
    """The setting of this name. Raises BadInput that suggests the nearest one."""
    import difflib

    if isinstance(name, str) and name in BY_NAME:
        return BY_NAME[name]
    near = difflib.get_close_matches(name, BY_NAME, 1, 0.5) if isinstance(name, str) else []
    hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(BY_NAME)}."
    raise BadInput(f"{shown(name)} is not a setting.", hint)


def shown_values(values: Values) -> dict[str, str]:
    """The values that are set, as one would type them, in the order of the table. Secrets are left out."""
    return {
        name: setting.kind.show(values[name])
        for name, setting in BY_NAME.items()
        if values.get(name) is not None
    }


def leads_to(host: str, hosts: Collection[str]) -> bool:
    """True if one of `hosts` is this host or a wildcard over it."""
    labels = host.split(".")
    return host in hosts or any(f"*.{'.'.join(labels[at:])}" in hosts for at in range(1, len(labels)))


def check_size(routing: Mapping[str, Values], hosts: Collection[str]) -> None:
    """Check that an app's settings fit into the router's table, where each host carries all settings that apply to
    it. Raises BadInput."""
    wide = routing.get(APP_WIDE, {})
    size = sum(len(json.dumps({**wide, **routing.get(host, {})})) for host in hosts)
    if size > MOST_TABLE_BYTES:
        raise BadInput(
            f"The settings of all {len(hosts)} domains would take {size} bytes; there is room for {MOST_TABLE_BYTES}.",
            "Name larger networks, fewer users, or fewer domains: each domain has what holds for the whole app, too.",
        )


def flags(app_wide: Values, own: Values, *, hosts: Collection[str], workers: int) -> dict[str, Any]:
    """The flags of a route: what is set for the whole app, overridden by what is set for its domain (`own`).

    `max-requests` and `queue` of the whole app are divided over the router's workers, each of which gets at least one request. A
    canonical host counts while it is one of the app's `hosts`.
    """
    values = {**app_wide, **own}
    found: dict[str, Any] = {}
    for row in SETTINGS:
        value = values.get(row.name)
        if not value and not (row.name == "queue" and value == 0):
            continue
        if row.name in _SHARED:
            value = max(1 if value else 0, value // workers)
        room, _, word = row.flag.rpartition(".")
        (found.setdefault(room, {}) if room else found)[word] = value
    if "path" not in found.get("health", {}):
        found.pop("health", None)
    if not leads_to(found.get("canonical_host", ""), hosts):
        found.pop("canonical_host", None)
    if "pause" in found:
        found |= {"pause": True, "queue": PAUSE_QUEUE // workers, "queue_s": values["pause"]}
    if users := values.get(AUTH):
        found["basic_auth"] = users
    if pages := {**app_wide.get(PAGES, {}), **own.get(PAGES, {})}:
        found["pages"] = pages
    return found
