"""Explains a failed step: expressions that find the cause in its output, and a hint for each. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MAX_LINE = 500


@dataclass(frozen=True)
class FailureHint:
    """`says` are regular expressions that must be found one after the other, each within one line, so that the
    output of a hostile build costs linear time. `cause` and `advice` may use their named groups as in `{name}`, and
    `{package}` if `packages` are given: what the group `name` is there; without an entry the output says something else."""

    says: str | tuple[str, ...]
    cause: str
    advice: str
    packages: Mapping[str, str] | None = None

    def read(self, text: str) -> tuple[str, str] | None:
        """The cause and the advice for this output; None when it says something else."""
        groups: dict[str, str] = {}
        position = 0
        for expression in (self.says,) if isinstance(self.says, str) else self.says:
            match = re.compile(expression, re.MULTILINE).search(text, position)
            if match is None:
                return None
            groups |= {name: value or "" for name, value in match.groupdict().items()}
            position = match.end()
        if self.packages is not None:
            package = self.packages.get(groups["name"])
            if package is None:
                return None
            groups["package"] = package
        return self.cause.format(**groups), self.advice.format(**groups)


def named_cause(hints: Iterable[FailureHint], lines: Sequence[str]) -> tuple[str, str] | None:
    """Cause and advice of the first hint that these lines of output match."""
    text = "\n".join(line[:MAX_LINE] for line in lines)
    return next((found for hint in hints if (found := hint.read(text))), None)
