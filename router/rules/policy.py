"""The policy of a route: what its flags require of requests before a backend gets them. Pure.

Flags of a route: `maintenance` (true), `canonical_host`, `body_limit_bytes`, `first_byte_s`, `rolling_s`,
`allow` (networks), `basic_auth` ({user: "SALT$sha256 of salt and password in hex"}), `max_inflight`, `queue`,
`queue_s`, `pause` (true), `sticky` (a secret), `compress` (true), `pages` ({status or H-code: file}), `health`
({"path": …, "interval_s", "timeout_s", "fails"}), `https_redirect` (true), `hsts_s` (seconds).
Unknown flags are ignored: a newer control plane may know more.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from router.rules.own_answers import ANSWERS, OwnAnswer

DEFAULT_QUEUE: Final = 100
DEFAULT_QUEUE_S: Final = 30.0

_AUTHORIZATION = re.compile(rb"\r\nauthorization:[ \t]*basic[ \t]+([A-Za-z0-9+/=]+)[ \t]*\r\n", re.IGNORECASE)
_AFFINITY = re.compile(rb"[;:][ \t]*paas_affinity=([A-Za-z0-9_-]{1,64})\.([0-9a-f]{32})(?=[;\r])")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_PASSWORD = re.compile(r"[^$]{8,64}\$[0-9a-f]{64}")
_FAILED = re.compile(r"[345][0-9]{2}|H[0-9]{2}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PATH = re.compile(r"/[!-~]{0,1023}")


@dataclass(frozen=True)
class HealthRule:
    """Health checks: `GET path` every `interval_s`. After `fails` checks in a row without a 2xx or 3xx within
    `timeout_s`, a backend gets no requests until a check succeeds."""

    path: str
    interval_s: float = 5.0
    timeout_s: float = 2.0
    fails: int = 2


@dataclass(frozen=True)
class Policy:
    """0 and empty mean: no rule."""

    maintenance: bool = False
    pause: bool = False
    canonical_host: bytes = b""
    body_limit_bytes: int = 0
    first_byte_s: float = 0.0
    rolling_s: float = 0.0
    max_inflight: int = 0
    """Requests in flight per worker; more wait, `queue` of them, `queue_s` seconds."""
    queue: int = DEFAULT_QUEUE
    queue_s: float = DEFAULT_QUEUE_S
    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    basic_auth: dict[bytes, str] = field(default_factory=dict)
    sticky: str = ""
    """The secret that signs affinity cookies."""
    compress: bool = False
    pages: dict[str, str] = field(default_factory=dict)
    """H-code or status to the name of a file."""
    health: HealthRule | None = None
    https_redirect: bool = False
    hsts_s: int = 0
    """How long a client that used HTTPS must do so always (RFC 6797)."""
    challenge: bytes = b""
    """The answer to an ACME server at this path (RFC 8555 8.3); not a flag, it comes from the table."""

    @property
    def needs_admission(self) -> bool:
        """Whether it must be asked before a backend gets a request."""
        return self != Policy(
            first_byte_s=self.first_byte_s, rolling_s=self.rolling_s, pages=self.pages, health=self.health
        )

    @property
    def gated(self) -> bool:
        """Whether requests may have to wait."""
        return self.pause or self.max_inflight > 0


def parse(flags: dict[str, Any]) -> Policy | None:
    """The policy of these flags; None when they set no rule. Raises ValueError."""
    policy = Policy(
        maintenance=_of(flags, "maintenance", bool, False),
        pause=_of(flags, "pause", bool, False),
        canonical_host=_host(flags).encode(),
        body_limit_bytes=_positive(flags, "body_limit_bytes", int, 0),
        first_byte_s=_positive(flags, "first_byte_s", float, 0.0),
        rolling_s=_positive(flags, "rolling_s", float, 0.0),
        max_inflight=_positive(flags, "max_inflight", int, 0),
        queue=_positive(flags, "queue", int, DEFAULT_QUEUE),
        queue_s=_positive(flags, "queue_s", float, DEFAULT_QUEUE_S),
        allow=tuple(ip_network(text, strict=False) for text in _of(flags, "allow", list, [])),
        basic_auth={name.encode(): word for name, word in _of(flags, "basic_auth", dict, {}).items()},
        sticky=_of(flags, "sticky", str, ""),
        compress=_of(flags, "compress", bool, False),
        pages=_pages(flags),
        health=_health(flags),
        https_redirect=_of(flags, "https_redirect", bool, False),
        hsts_s=_positive(flags, "hsts_s", int, 0),
    )
    for word in policy.basic_auth.values():
        if not isinstance(word, str) or _PASSWORD.fullmatch(word) is None:
            raise ValueError("basic_auth: a password is SALT$ and 64 hex digits")
    return None if policy == Policy() else policy


def _of(flags: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = flags.get(name, default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name}: {value!r} is no {kind.__name__}")
    return value


def _positive(flags: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = _of(flags, name, kind, default)
    if value < 0:
        raise ValueError(f"{name}: {value!r} is negative")
    return value


def _pages(flags: dict[str, Any]) -> dict[str, str]:
    pages: dict[str, str] = _of(flags, "pages", dict, {})
    for failed, file in pages.items():
        if _FAILED.fullmatch(failed) is None or not isinstance(file, str) or _FILE.fullmatch(file) is None:
            raise ValueError(f"pages: {failed!r}: {file!r} is no status or H-code and the name of a file")
    return pages


def _health(flags: dict[str, Any]) -> HealthRule | None:
    given = _of(flags, "health", dict, {})
    if not given:
        return None
    path = _of(given, "path", str, "/")
    if _PATH.fullmatch(path) is None:
        raise ValueError(f"health: {path!r} is no path")
    interval_s = _positive(given, "interval_s", float, HealthRule.interval_s)
    timeout_s = _positive(given, "timeout_s", float, HealthRule.timeout_s)
    return HealthRule(path, interval_s, timeout_s, max(1, _positive(given, "fails", int, HealthRule.fails)))


def _host(flags: dict[str, Any]) -> str:
    name: str = _of(flags, "canonical_host", str, "").lower()
    if name and _HOST.fullmatch(name) is None:
        raise ValueError(f"canonical_host: {name!r} is no host name")
    return name


def hash_password(password: str, salt: str) -> str:
    """A password in the form that `basic_auth` expects."""
    return f"{salt}${hashlib.sha256((salt + password).encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, as far as a policy looks at it. `head` is what would be passed on, `address` the client's, `scheme`
    and `port` what was asked for, `length` the announced body (-1: not announced)."""

    method: bytes
    host: bytes
    target: bytes
    head: bytes
    address: bytes
    scheme: bytes = b"http"
    port: int = 80
    length: int = 0
    https_port: int = 443
    """The address of the same page by HTTPS."""

    @property
    def secure(self) -> bool:
        return self.scheme == b"https"


def judge(policy: Policy, ask: Ask) -> tuple[OwnAnswer, bytes] | None:
    """Why this request is answered by the router, and header lines to say with it; None when it may pass."""
    moved = ANSWERS["moved-permanently" if ask.method in (b"GET", b"HEAD") else "moved-same-method"]
    host = policy.canonical_host or ask.host
    if policy.allow and not _allowed(policy, ask.address):
        return ANSWERS["forbidden"], b""
    if policy.https_redirect and not ask.secure:
        if not host:
            return ANSWERS["bad-request"], b""
        return moved, _location(host, b"https", ask.https_port, ask.target)
    if policy.maintenance:
        return ANSWERS["maintenance"], b"Retry-After: 60\r\n"
    if policy.canonical_host and ask.host != policy.canonical_host:
        return moved, _location(host, ask.scheme, ask.port, ask.target)
    if policy.basic_auth and not _authenticated(policy, ask.head):
        return ANSWERS["unauthorized"], b'WWW-Authenticate: Basic realm="restricted", charset="UTF-8"\r\n'
    if policy.body_limit_bytes and ask.length > policy.body_limit_bytes:
        return ANSWERS["too-large"], b""
    return None


def _allowed(policy: Policy, address: bytes) -> bool:
    client = ip_address(address.decode())
    return any(client in network for network in policy.allow)


def _location(host: bytes, scheme: bytes, port: int, target: bytes) -> bytes:
    usual = (scheme, port) in ((b"http", 80), (b"https", 443))
    path = b"/" if target == b"*" else target
    return b"Location: %b://%b%b%b\r\n" % (scheme, host, b"" if usual else b":%d" % port, path)


def _authenticated(policy: Policy, head: bytes) -> bool:
    match = _AUTHORIZATION.search(head)
    if match is None:
        return False
    try:
        name, _, password = base64.b64decode(match[1], validate=True).partition(b":")
    except binascii.Error:
        return False
    expected = policy.basic_auth.get(name)
    salt, _, digest = (expected or "-$-").partition("$")
    given = hashlib.sha256(salt.encode() + password).hexdigest()
    return hmac.compare_digest(given, digest) and expected is not None


def _sign(secret: str, id: str) -> str:
    return hmac.new(secret.encode(), id.encode(), hashlib.sha256).hexdigest()[:32]


def affinity_cookie(secret: str, id: str, *, secure: bool) -> bytes:
    """A Set-Cookie line that keeps a client at this backend."""
    end = "; Secure" if secure else ""
    return f"Set-Cookie: paas_affinity={id}.{_sign(secret, id)}; Path=/; HttpOnly; SameSite=Lax{end}\r\n".encode()


def affinity_of(secret: str, head: bytes) -> str:
    """The backend that a valid affinity cookie in the head names; empty without one."""
    end = head.find(b"\r\n\r\n")
    for line in head[: end + 2].split(b"\r\n"):
        if line[:7].lower() != b"cookie:":
            continue
        for match in _AFFINITY.finditer(line + b"\r"):
            id = match[1].decode()
            if hmac.compare_digest(_sign(secret, id), match[2].decode()):
                return id
    return ""
