"""Which Ruby an app gets: what its files ask for, against what the stacks have. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from buildpacks.plan import BuildRefused, Tree, quoted, read_text
from buildpacks.semver import Version, satisfies

_STACKS: dict[Version, str] = {(3, 1, 99): "", (3, 3, 99): "debian-13"}
"""The Ruby of the first stack, and of those that an app gets when its files want a newer one; any patch release of it."""
_STATEMENT = re.compile(r"^[ \t]*ruby[ \t(]+(.+)$", re.MULTILINE)
_WORDS = re.compile(r"""["']([^"']{1,60})["']""")
_FILE = re.compile(r"""\bfile[:"' =>]{1,8}["']\.ruby-version["']""")
_EXACT = re.compile(r"(?:ruby-)?(\d{1,3})\.(\d{1,3})(?:\.\d{1,3})?(?:-?p\d+)?")
_PESSIMISTIC = re.compile(r"~>\s*(\d+(?:\.\d+){0,2})")


@dataclass(frozen=True)
class Ruby:
    """`stack` is the one that has it; empty: the app's own."""

    note: str
    stack: str = ""
    warnings: tuple[str, ...] = ()


def choose_ruby(tree: Tree) -> Ruby:
    """The Gemfile's `ruby` counts, which Bundler insists on; then .ruby-version and .tool-versions, which only prefer: the
    next newer Ruby is taken, else the newest. Raises BuildRefused for a Gemfile that no stack satisfies."""
    asked, where = _asked(tree)
    if not asked:
        return Ruby("The stack's Ruby")
    try:
        fitting = [version for version in _STACKS if satisfies(version, _range(asked))]
    except ValueError:
        return Ruby("The stack's Ruby")
    if fitting:
        return _chosen(fitting[0], where)
    have = ", ".join(map(_minor, _STACKS))
    if where == "Gemfile":
        raise BuildRefused(
            f"The Gemfile asks for Ruby {quoted(asked, 40)}; there are {have}.",
            f'Write ruby "~> {_minor(max(_STACKS))}.0" there, run bundle install and commit both files.',
        )
    numbers = _EXACT.fullmatch(asked)
    low = (int(numbers[1]), int(numbers[2]), 0) if numbers else (0, 0, 0)
    taken = next((version for version in _STACKS if version >= low), max(_STACKS))
    return _chosen(taken, where, (f"{where} asks for Ruby {quoted(asked, 40)}; it runs on {_minor(taken)}",))


def _chosen(version: Version, where: str, warnings: tuple[str, ...] = ()) -> Ruby:
    stack = _STACKS[version]
    has = f", which stack {stack} has" if stack else ""
    return Ruby(f"Using Ruby {_minor(version)} (from {where}){has}", stack, warnings)


def _minor(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def _asked(tree: Tree) -> tuple[str, str]:
    """What is asked for, and the file that says it."""
    found = _STATEMENT.search(read_text(tree, "Gemfile")) if tree.exists("Gemfile") else None
    text = read_text(tree, ".ruby-version", 4096).strip() if tree.exists(".ruby-version") else ""
    if found and _FILE.search(found[1]):
        return text, "Gemfile"
    if found:
        words = _WORDS.findall(found[1].partition("#")[0].partition("engine")[0])
        return " ".join(word for word in words if any(map(str.isdigit, word))), "Gemfile"
    if text:
        return text, ".ruby-version"
    tools = read_text(tree, ".tool-versions", 65536) if tree.exists(".tool-versions") else ""
    line = next((line.split() for line in tools.splitlines() if line.startswith("ruby ")), [])
    return (line[1], ".tool-versions") if len(line) > 1 else ("", "")


def _range(text: str) -> str:
    """A requirement of RubyGems as npm writes it. An exact release stands for its minor, whose patch releases Debian has."""
    exact = _EXACT.fullmatch(text.removeprefix("=").strip())
    if exact:
        return f"~{exact[1]}.{exact[2]}"
    return _PESSIMISTIC.sub(
        lambda match: ("~" if match[1].count(".") == 2 else "^") + match[1], text.replace(",", " ")
    )
