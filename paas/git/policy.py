"""Which ref updates a push may make: one create or update of the app's deploy branch. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from paas.errors import BadInput
from paas.git.repository import ZERO
from paas.names import shown

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
    commands: Sequence[RefCommand], *, app: str, branches: Sequence[str], shallow: bool = False
) -> RefCommand:
    """The one update that a push may be. Raises BadInput with the command to use instead."""
    deploy = branches[0]
    if len(commands) != 1:
        refs = ", ".join(shown(_short(command.ref)) for command in commands[:3])
        more = f" and {len(commands) - 3} more" if len(commands) > 3 else ""
        raise BadInput(
            f"A push updates one branch, not {len(commands)} refs ({refs}{more}).",
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


def check_options(options: Sequence[str]) -> bool:
    """Whether `nowait` was asked for. Raises BadInput for any other push option."""
    for option in options:
        if option != "nowait":
            raise BadInput(f"{shown(option)} is not a push option.", "`-o nowait` is the only one.")
    return bool(options)
