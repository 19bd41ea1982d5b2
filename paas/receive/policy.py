"""Which ref updates a push may make: one create or update of the app's deploy branch; its options. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from paas.nouns.errors import BadInput
from paas.nouns.names import CANARY_SHARE, shown
from paas.receive.repository import ZERO

MAX_OPTIONS = 16
_HEADS = "refs/heads/"
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]{0,99}")


@dataclass(frozen=True)
class RefCommand:
    """One line of a push: move `ref` from `old` to `new` (40 zeros: absent)."""

    old: str
    new: str
    ref: str

    @property
    def branch(self) -> str:
        return self.ref.removeprefix(_HEADS)


def check(
    commands: Sequence[RefCommand],
    *,
    app: str,
    branches: Sequence[str],
    shallow: bool = False,
    count: int | None = None,
) -> RefCommand:
    """The one update that a push may be. Raises BadInput with the command to use instead.

    `count` is how many updates the client asked for, if `commands` are only the first of them.
    """
    deploy = branches[0]
    count = len(commands) if count is None else count
    if count != 1:
        refs = ", ".join(shown(_short(command.ref)) for command in commands[:3])
        more = f" and {count - 3} more" if count > 3 else ""
        raise BadInput(
            f"A push updates one branch, not {count} refs ({refs}{more}).",
            f"Use: git push paas HEAD:{deploy}",
            cause="several refs",
        )
    command = commands[0]
    if command.new == ZERO:
        raise BadInput(
            f"{shown(_short(command.ref))} cannot be deleted by a push.",
            f"To remove the app: paas apps:destroy -a {app}",
            cause="delete",
        )
    if command.ref.startswith("refs/tags/"):
        name = command.ref.removeprefix("refs/tags/")
        tag = name if _BRANCH.fullmatch(name) else "TAG"
        use = f"Use: git push paas {tag}^{{commit}}:refs/heads/{deploy}"
        raise BadInput("Tags are not deployed.", use, cause="tag")
    if not command.ref.startswith(_HEADS) or command.branch not in branches:
        raise BadInput(_wrong_branch(command, branches), _right_push(command, deploy), cause="wrong branch")
    if shallow:
        raise BadInput(
            "This clone is shallow: it does not hold the history of the commit.",
            "Fetch it first: git fetch --unshallow",
            cause="shallow",
        )
    return command


def _short(ref: str) -> str:
    return ref.removeprefix(_HEADS)


def _wrong_branch(command: RefCommand, branches: Sequence[str]) -> str:
    names = " or ".join(branches)
    return f"{shown(_short(command.ref))} is not the branch that this app deploys, which is {names}."


def _right_push(command: RefCommand, deploy: str) -> str:
    plain = command.ref.startswith(_HEADS) and _BRANCH.fullmatch(command.branch)
    source = command.branch if plain else "HEAD"
    return f"Use: git push paas {source}:{deploy}"


@dataclass(frozen=True)
class Options:
    """What `git push -o` asks for: not to wait, and percent of the requests for a canary."""

    nowait: bool = False
    canary: int | None = None


def check_options(options: Sequence[str]) -> Options:
    """Raises BadInput for what is no push option."""
    found = Options()
    for option in options:
        match = re.fullmatch(r"canary(?:=(\d{1,2}|100)%?)?", option, re.ASCII)
        if match is not None:
            found = replace(found, canary=int(match[1] or CANARY_SHARE))
        elif option == "nowait":
            found = replace(found, nowait=True)
        else:
            raise BadInput(
                f"{shown(option)} is not a push option.", "There are `-o nowait` and `-o canary=PERCENT`."
            )
    return found
