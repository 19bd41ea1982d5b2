"""Names and quantities that people type, parsed at the edge. Pure; BadInput names the value and the rule."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from paas.nouns.errors import BadInput
from paas.nouns.units import MIB, read_size, written_size

MAX_QUANTITY = 100
CANARY_SHARE = 10
"""Default share of a canary, in percent of the requests."""
USUAL_BRANCHES = ("main", "master")
"""A new app deploys the first. An app that deploys one of them accepts pushes to the other too."""
OBJECT_ID = re.compile(r"[0-9a-f]{40}")
"""An object of git in SHA-1, the only format that the git server speaks."""
MAX_CONFIG_VALUE_BYTES = 32 * 1024
MAX_CONFIG_BYTES = 256 * 1024
MAX_CONFIG_VARS = 1000


class Name(str):
    """A string that has been checked against the rule of its class."""

    what = "name"
    pattern = re.compile(r".+")
    rule = ""

    @classmethod
    def parse(cls, text: object) -> Self:
        """Raises BadInput."""
        if not isinstance(text, str) or not cls.pattern.fullmatch(text):
            raise BadInput(f"{shown(text)} is not {cls.what}.", f"It must be {cls.rule}.")
        return cls(text)


class AppName(Name):
    what = "an app name"
    pattern = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
    rule = (
        "1 to 30 lower-case letters, digits and dashes, begin with a letter and end with a letter or a digit"
    )


class UserName(Name):
    what = "a user name"
    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
    rule = "1 to 64 letters, digits, '.', '_', '@', '+' and '-', and begin with a letter or a digit"


class TokenName(Name):
    what = "a name for a token"
    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+ -]{0,63}")
    rule = "1 to 64 letters, digits, spaces, '.', '_', '@', '+' and '-', and begin with a letter or a digit"


class ProcessType(Name):
    what = "a process type"
    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
    rule = "1 to 63 letters, digits, '_' and '-', and begin with a letter or a digit"


class ConfigName(Name):
    what = "a config var name"
    pattern = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
    rule = "1 to 255 letters, digits and '_', and begin with a letter or '_'"

    @classmethod
    def parse(cls, text: object) -> Self:
        name = super().parse(text)
        if name in RESERVED_CONFIG:
            raise BadInput(f"{name} is set by the platform.", "Choose another name for the config var.")
        return name


RESERVED_CONFIG = frozenset(
    ("PORT", "HOME", "PATH", "PWD", "DYNO", "PAAS_APP", "PAAS_PROCESS", "PAAS_RELEASE", "SOURCE_VERSION")
)


def own_config(config: Mapping[str, str]) -> dict[str, str]:
    """The config vars without reserved names; only an older store can contain some."""
    return {name: value for name, value in config.items() if name not in RESERVED_CONFIG}


class StackName(Name):
    what = "a stack"
    pattern = re.compile(r"[a-z][a-z0-9]{0,30}(-[0-9]{1,4}(\.[0-9]{1,2})?)?")
    rule = "like debian-12"


class BranchName(Name):
    """A branch name by a subset of the rules of git-check-ref-format(1)."""

    what = "a branch name"
    pattern = re.compile(r"(?!.*(\.\.|//|/\.|\.lock(/|$)|\.$|/$))[A-Za-z0-9_][A-Za-z0-9_./+-]{0,99}")
    rule = "1 to 100 letters, digits, '_', '.', '/', '+' and '-', as git accepts it"


class DomainName(Name):
    """A host name in lower case (RFC 1123), perhaps `*.` and a host name."""

    what = "a domain"
    pattern = re.compile(
        r"(?=.{1,253}$)(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
    )
    rule = "a host name with at least one dot, like www.example.com or *.example.com"

    @classmethod
    def parse(cls, text: object) -> Self:
        if isinstance(text, str):
            address = re.match(r"https?://(?:[^@/\s]*@)?([\w.*-]*)", text, re.IGNORECASE)
            if address is not None:
                raise BadInput(
                    f"{shown(text)} is an address, not a domain.", f"Name its host: {address[1][:253]}"
                )
            text = (text if text.isascii() else _encoded(text)).lower().removesuffix(".")
        return super().parse(text)


def _encoded(domain: str) -> str:
    """A domain with non-ASCII letters in the form of the DNS (IDNA 2008). Raises BadInput."""
    import idna  # loaded only for such names: few have one

    star = "*." if domain.startswith("*.") else ""
    try:
        return star + idna.encode(domain.removeprefix("*."), uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise BadInput(
            f"{shown(domain)} is not a domain: {error}.", f"It must be {DomainName.rule}."
        ) from None


def both_forms(domain: str) -> str:
    """A domain, perhaps with a path, in the form of the DNS; an internationalised one is followed by its written form."""
    host, slash, path = domain.partition("/")
    if "xn--" not in host:
        return domain
    import idna

    star = "*." if host.startswith("*.") else ""
    try:
        written = star + idna.decode(host.removeprefix("*."))
    except idna.IDNAError:
        return domain
    return f"{domain} ({written}{slash}{path})"


def both_forms_of(text: str) -> str:
    """`both_forms` of typed text; text that is no domain stays as it is."""
    try:
        return both_forms(DomainPath.parse(text))
    except BadInput:
        return text


class DomainPath(Name):
    """A domain, perhaps with a path below which it counts: `example.com/api`."""

    what = "a domain with a path"
    pattern = re.compile(r"[^/]+(?!.{201})(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*")
    rule = "a domain, or one with a plain path like example.com/api"

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or "/" not in text:
            return cls(DomainName.parse(text))
        if "://" in text:
            DomainName.parse(text)
        host, _, path = text.partition("/")
        return super().parse(f"{DomainName.parse(host)}/{path.rstrip('/')}".rstrip("/"))


@dataclass(frozen=True)
class InstanceName:
    """`web.1`"""

    type: ProcessType
    number: int

    @classmethod
    def parse(cls, text: object) -> InstanceName:
        match = re.fullmatch(r"(.+)\.([1-9][0-9]{0,8})", text) if isinstance(text, str) else None
        if match is None:
            raise BadInput(f"{shown(text)} is not an instance name.", "It must be like web.1.")
        return cls(ProcessType.parse(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.type}.{self.number}"


@dataclass(frozen=True)
class ScaleWord:
    """`web=3` sets (`delta` false), `web+1` and `web-1` change by `amount`."""

    type: ProcessType
    amount: int
    delta: bool

    @classmethod
    def parse(cls, text: str) -> ScaleWord:
        match = re.fullmatch(r"([\w-]+?)([=+-])(\d{1,9})", text, re.ASCII)
        if match is None:
            raise BadInput(f"{shown(text)} is not a scale.", "It must be like web=3, web+1 or web-1.")
        amount = int(match[3])
        return cls(scalable(match[1]), -amount if match[2] == "-" else amount, delta=match[2] != "=")


def scalable(text: object) -> ProcessType:
    """A process type that can be scaled: any but `release`. Raises BadInput."""
    type = ProcessType.parse(text)
    if type == "release":
        raise BadInput("The release process cannot be scaled.", "It runs once per push, before the switch.")
    return type


def quantity(value: object) -> int:
    """How many of a process. Raises BadInput."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadInput(
            f"{shown(value)} is not a quantity.", f"It must be a whole number from 0 to {MAX_QUANTITY}."
        )
    if not 0 <= value <= MAX_QUANTITY:
        raise BadInput(f"{value} is outside of 0 to {MAX_QUANTITY}, the range of a quantity.")
    return value


_LOWEST_MEMORY = 16 * MIB
_HIGHEST_MEMORY = 1 << 44


def memory_bytes(text: str) -> int:
    """An amount of memory, as `units.read_size` reads it. Raises BadInput."""
    size = read_size(text)
    if size is None:
        raise BadInput(f"{shown(text)} is not an amount of memory.", "It must be like 256M or 1.5G.")
    return check_limit("memory_bytes", size)


def cpu_millis(text: str) -> int:
    """`0.5` cores, or `500m`; thousandths of a core. Raises BadInput."""
    match = re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?|\d{1,7}m)", text.strip())
    if match is None:
        raise BadInput(
            f"{shown(text)} is not an amount of cpu.", "It must be a number of cores, like 0.5 or 2."
        )
    word = match[1]
    return check_limit("cpu_millis", int(word[:-1]) if word.endswith("m") else int(Decimal(word) * 1000))


def pids(text: str) -> int:
    """A number of processes and threads. Raises BadInput."""
    if not re.fullmatch(r"\d{1,9}", text.strip()):
        raise BadInput(f"{shown(text)} is not a number of processes.", "It must be a whole number, like 256.")
    return check_limit("pids", int(text))


LIMITS = {
    "memory_bytes": (_LOWEST_MEMORY, _HIGHEST_MEMORY, "memory", "from 16M to 16T"),
    "cpu_millis": (10, 256_000, "cpu", "from 0.01 to 256 cores"),
    "pids": (8, 32_768, "pids", "from 8 to 32768"),
}
"""Limit → lowest, highest, the word people use, the rule in words."""


def check_limit(key: str, value: object) -> int:
    """A limit within its bounds. Raises BadInput."""
    if key not in LIMITS:
        raise BadInput(f"{shown(key)} is not a limit.", f"Limits are {', '.join(LIMITS)}.")
    lowest, highest, word, rule = LIMITS[key]
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise BadInput(f"{word} cannot be {shown_limit(key, value)}.", f"It must be {rule}.")
    return value


def limit_word(word: str) -> tuple[str, int]:
    """`memory=256M`, `cpu=0.5`, `pids=100` → (`memory_bytes`, 268435456). Raises BadInput."""
    name, equals, text = word.partition("=")
    parsers = {"memory": memory_bytes, "cpu": cpu_millis, "pids": pids}
    if not equals or name not in parsers:
        hint = "It must be like memory=256M, cpu=0.5 or pids=100."
        if re.fullmatch(r"[a-z][a-z0-9_-]*=[\d.]+[KMGT]i?B?", word, re.IGNORECASE):
            hint = f"The process type stands before it: paas limits:set {name} memory={text}"
        raise BadInput(f"{shown(word)} is not a limit.", hint)
    keys = {entry[2]: key for key, entry in LIMITS.items()}
    return keys[name], parsers[name](text)


def shown_limit(key: str, value: object) -> str:
    """A limit as people write it: `256M`, `0.5`, `100`."""
    if isinstance(value, bool) or not isinstance(value, int):
        return shown(value)
    if key == "cpu_millis":
        return f"{value / 1000:g}"
    return written_size(value) if key == "memory_bytes" else str(value)


def config_value(name: str, value: object) -> str:
    """Any text without NUL, at most 32 KiB of UTF-8. Raises BadInput."""
    if not isinstance(value, str):
        raise BadInput(f"The value of {name} is not text.")
    if "\0" in value:
        raise BadInput(f"The value of {name} contains a NUL byte.", "No environment variable can hold one.")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise BadInput(f"The value of {name} is not valid UTF-8.") from None
    if size > MAX_CONFIG_VALUE_BYTES:
        raise BadInput(
            f"The value of {name} has {size} bytes.", f"A value may have {MAX_CONFIG_VALUE_BYTES} bytes."
        )
    return value


def check_config(vars: dict[str, str]) -> None:
    """Check the number and the total size of all config vars. Raises BadInput."""
    size = sum(len(name) + len(value.encode()) + 2 for name, value in vars.items())
    if len(vars) > MAX_CONFIG_VARS or size > MAX_CONFIG_BYTES:
        raise BadInput(
            f"{len(vars)} config vars of {size} bytes together are too many.",
            f"At most {MAX_CONFIG_VARS} vars and {MAX_CONFIG_BYTES} bytes fit.",
        )


def release_number(text: object) -> int:
    """`v3`, `3` or the number itself. Raises BadInput."""
    if isinstance(text, int) and not isinstance(text, bool) and 0 < text < 10**9:
        return text
    if isinstance(text, str) and (match := re.fullmatch(r"v?([1-9][0-9]{0,8})", text)):
        return int(match[1])
    raise BadInput(f"{shown(text)} is not a release.", "It must be like v3.")


def shown(value: object) -> str:
    """A value as an error shows it: text in quotes, anything else as JSON; without control characters, at most 60 long."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=ascii)
    return text if len(text) <= 60 else text[:57] + "…" + text[-1]
