"""Sizes, durations and switches: how people write them, and how they are shown. Pure.

Memory counts in powers of 1024 (`512 MiB`), what lies on a disk in powers of ten (`61.2 MB`), as the tools around us do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
YEAR_S = 365 * DAY_S
_SWITCH = {
    "on": True,
    "true": True,
    "yes": True,
    "1": True,
    "off": False,
    "false": False,
    "no": False,
    "0": False,
}
_BINARY = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1 << 40}
_SECONDS = {"s": 1, "m": MINUTE_S, "h": HOUR_S, "d": DAY_S, "y": YEAR_S}
_SIZE = re.compile(r"(\d{1,15})(?:\.(\d{1,6}))?\s?([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9})(s|m|h|d|y)?")


def read_switch(text: str) -> bool | None:
    """`on`, `true`, `yes` or `1`; `off`, `false`, `no` or `0`; in any case of letters. None if `text` is none of them."""
    return _SWITCH.get(text.lower())


def read_size(text: str) -> int | None:
    """`256M`, `1.5G`, `512MiB` or plain bytes, in bytes; units are powers of 1024. None if `text` is no size."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    whole, decimals, unit = match.groups(default="")
    size: int = int(whole + decimals) * _BINARY[unit.upper()] // 10 ** len(decimals)
    return size


def written_size(size_bytes: int) -> str:
    """`256M`: a size as `read_size` reads it, in the largest unit that leaves no remainder."""
    return _written(size_bytes, _BINARY, "")


def shown_memory(size_bytes: int) -> str:
    """`512 MiB`, `61.5 MiB`, `16.0 GiB`, `3.9 KiB`, `1000 bytes`."""
    if size_bytes < KIB:
        return f"{size_bytes} bytes"
    if size_bytes >= 10_000 * MIB:
        return f"{size_bytes / GIB:.1f} GiB"
    amount, unit = (size_bytes / MIB, "MiB") if size_bytes >= MIB else (size_bytes / KIB, "KiB")
    whole = amount >= 100 or amount == int(amount)
    return f"{amount:.0f} {unit}" if whole else f"{amount:.1f} {unit}"


def shown_size(size_bytes: float) -> str:
    """`61.2 MB`, in powers of ten."""
    amount, unit = float(size_bytes), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, bigger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def read_duration(text: str) -> int | None:
    """`30s`, `5m`, `1h`, `7d`, `1y` or plain seconds, in seconds. None if `text` is no duration."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _SECONDS[match[2] or "s"] if match else None


def written_duration(seconds: int) -> str:
    """`5m`: a duration as `read_duration` reads it, in the largest unit that leaves no remainder."""
    return _written(seconds, _SECONDS, "s")


def _written(amount: int, units: Mapping[str, int], least: str) -> str:
    whole = (unit for unit, size in units.items() if amount and amount % size == 0)
    unit = max(whole, key=units.__getitem__, default=least)
    return f"{amount // units[unit]}{unit}"


def elapsed(seconds: float) -> str:
    """`42 s`, `3 min 5 s`."""
    whole = int(seconds)
    return f"{whole} s" if whole < MINUTE_S else f"{whole // MINUTE_S} min {whole % MINUTE_S} s"


def rounded_duration(seconds: float) -> str:
    """`42s`, `5m`, `3h`, `12d`: one unit, rounded down."""
    whole = max(0, int(seconds))
    for letter, size in (("d", DAY_S), ("h", HOUR_S), ("m", MINUTE_S)):
        if whole >= size:
            return f"{whole // size}{letter}"
    return f"{whole}s"
