"""Version ranges as npm writes them (`^20.1`, `>=18 <21 || 22.x`). Pure."""

from __future__ import annotations

import re

Version = tuple[int, int, int]

_PARTIAL = re.compile(r"v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:[-+][0-9A-Za-z.+-]+)?")
_COMPARATOR = re.compile(r"(>=|<=|>|<|=|\^|~>?)?\s*(\S+)")


def parse_exact(text: str) -> Version | None:
    """`20.11.1` or `v20.11.1` as numbers; None for anything less exact."""
    match = re.fullmatch(r"[v=]?\s*(\d{1,4})\.(\d{1,4})\.(\d{1,4})", text.strip())
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def satisfies(version: Version, text: str) -> bool:
    """Whether `version` lies in the range. Raises ValueError for text that is no range."""
    parts = [_in_set(version, part.strip()) for part in text.split("||")]
    return any(parts)


def lower_bounds(text: str) -> list[Version]:
    """The lowest version that each number in a range stands for.

    >>> lower_bounds(">=4 <5.2.x")
    [(4, 0, 0), (5, 2, 0)]
    """
    return [_bounds(partial)[0] for partial in re.findall(r"(?<![\w.])v?\d+(?:\.(?:\d+|[xX*])){0,2}", text)]


def _in_set(version: Version, text: str) -> bool:
    hyphen = re.fullmatch(r"(\S+)\s+-\s+(\S+)", text)
    if hyphen:
        low, _ = _bounds(hyphen[1])
        _, high = _bounds(hyphen[2])
        return low <= version < high
    text = re.sub(r"(>=|<=|>|<|=|\^|~>?)\s+", r"\1", text)
    comparators = [_compare(version, word) for word in text.split() or ["*"]]
    return all(comparators)


def _compare(version: Version, word: str) -> bool:
    match = _COMPARATOR.fullmatch(word)
    if match is None:
        raise ValueError(f"{word!r} is not a version range")
    operator, partial = match[1] or "=", match[2]
    low, high = _bounds(partial)
    if operator == "^":
        numbers = _numbers(partial)
        high = _caret(low, len(numbers))
    elif operator in ("~", "~>"):
        high = (low[0], low[1] + 1, 0) if len(_numbers(partial)) > 1 else high
    checks = {
        ">=": version >= low,
        ">": version >= high,
        "<": version < low,
        "<=": version < high,
    }
    return checks.get(operator, low <= version < high)


def _caret(low: Version, given: int) -> Version:
    if low[0] or given < 2:
        return (low[0] + 1, 0, 0)
    if low[1] or given < 3:
        return (0, low[1] + 1, 0)
    return (0, 0, low[2] + 1)


def _numbers(partial: str) -> list[int]:
    match = _PARTIAL.fullmatch(partial)
    if match is None:
        raise ValueError(f"{partial!r} is not a version")
    numbers = []
    for group in match.groups():
        if group is None or not group.isdigit():
            break
        numbers.append(int(group))
    return numbers


def _bounds(partial: str) -> tuple[Version, Version]:
    """The first version a partial one stands for, and the first one after all it stands for."""
    numbers = _numbers(partial)
    if not numbers:
        return (0, 0, 0), (1 << 30, 0, 0)
    low = tuple([*numbers, 0, 0][:3])
    raised = [*numbers[:-1], numbers[-1] + 1]
    high = tuple([*raised, 0, 0][:3])
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])
