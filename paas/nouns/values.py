"""How the value of a setting is read from text. Each function raises ValueError with what the text is not. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from paas.nouns.units import read_size, read_switch

Network = IPv4Network | IPv6Network

_DOMAIN = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)


@dataclass(frozen=True)
class Address:
    """A TCP address to listen on; `str()` gives `127.0.0.1:8080`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError("is not ADDRESS:PORT, as in 127.0.0.1:8080")
    if not re.fullmatch(r"(\d{1,3})(\.\d{1,3}){3}", host) or any(int(part) > 255 for part in host.split(".")):
        raise ValueError("does not begin with an IPv4 address, as in 127.0.0.1:8080")
    return Address(host, int(port))


def address_or_off(text: str) -> Address | None:
    if text.lower() in ("off", "false", "no"):
        return None
    try:
        return address(text)
    except ValueError as error:
        raise ValueError(f"{error}, nor off") from None


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise ValueError("is not a list of networks, as in 10.0.0.0/8, 192.0.2.7") from None


def url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", text):
        raise ValueError("is not an address, as in https://ca.example.com/directory")
    return text


def base_url(text: str) -> str:
    """Where something is reached from elsewhere, without a slash at its end; perhaps nowhere."""
    return url(text).rstrip("/") if text else ""


def go_proxy(text: str) -> str:
    """A list as in GOPROXY: addresses, `direct` or `off`, with commas or bars between; perhaps none."""
    for word in re.split(r"[,|]", text) if text else ():
        if word not in ("direct", "off") and not re.fullmatch(r"https?://[^\s/]+(/\S*)?|file:///\S+", word):
            raise ValueError("is not a list like https://proxy.example.com,direct")
    return text


def image_mirror(text: str) -> str:
    """A registry, perhaps with what stands before each repository there; perhaps none."""
    if text and not re.fullmatch(r"(?:http://|https://)?[A-Za-z0-9.:\[\]-]+(?:/[a-z0-9._/-]*)?", text):
        raise ValueError("is not a registry like mirror.example.com or http://10.0.0.5:5000")
    return text


def download_source(text: str) -> str:
    """Where builds may fetch files from: an address, or a folder or file of this machine; perhaps none."""
    if text and not re.fullmatch(r"https?://[^\s/]+(/\S*)?|file:///\S+", text):
        raise ValueError("is not an address like https://mirror.example.com/python or file:///srv/python")
    return text


def email(text: str) -> str:
    if text and not re.fullmatch(r"[^\s@,]+@[^\s@,]+", text):
        raise ValueError("is not an email address")
    return text


def file(text: str) -> Path | None:
    return directory(text) if text else None


def directory(text: str) -> Path:
    if not text or "\0" in text or "\n" in text:
        raise ValueError("is not a folder's path")
    return Path(text).expanduser().absolute()


def domain(text: str) -> str:
    name = text.lower().rstrip(".")
    if not _DOMAIN.fullmatch(name):
        raise ValueError("is not a domain name, as in apps.example.com")
    return name


def seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text) or float(text) == 0:
        raise ValueError("is not a number of seconds, as in 30")
    return float(text)


def size(text: str) -> int:
    size = read_size(text)
    if not size:
        raise ValueError("is not a size, as in 512M")
    return size


def count(text: str) -> int:
    if not re.fullmatch(r"\d{1,6}", text) or int(text) == 0:
        raise ValueError("is not a whole number above 0")
    return int(text)


def ratio(text: str) -> float:
    if not re.fullmatch(r"\d{1,3}(\.\d{1,2})?", text) or float(text) == 0:
        raise ValueError("is not a number above 0, as in 1.5")
    return float(text)


def percent(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text) or int(text) > 100:
        raise ValueError("is not a whole number from 0 to 100")
    return int(text)


def switch(text: str) -> bool:
    value = read_switch(text)
    if value is None:
        raise ValueError("is neither true nor false")
    return value
