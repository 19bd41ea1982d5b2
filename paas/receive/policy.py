"""The ref updates that a push may contain: one create or update of the app's deploy branch; push options. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from paas.nouns.errors import BadInput
from paas.nouns.names import CANARY_SHARE, shown
from paas.receive.repository import ZERO

MAX_OPTIONS = 16
_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_MAX_NAMED = 3
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]{0,99}")


@dataclass(frozen=True)
class RefUpdate:
    """One line of a push: move `ref` from `old` to `new` (40 zeros: absent)."""

    old: str
    new: str
    ref: str

    @property
    def branch(self) -> str:
        return self.ref.removeprefix(_HEADS)


def check(
    updates: Sequence[RefUpdate],
    *,
    app: str,
    branches: Sequence[str],
    shallow: bool = False,
    count: int | None = None,
) -> RefUpdate:
    """The one update that a push may contain. Raises BadInput with the command to use instead.

    The first of `branches` is the deploy branch. `count` is how many updates the client asked for, if `updates` are
    only the first of them.
    """
    deploy = branches[0]
    count = len(updates) if count is None else count
    if count != 1:
        raise _several(updates, count, deploy)
    update = updates[0]
    if update.new == ZERO:
        raise BadInput(
            f"{shown(_short(update.ref))} cannot be deleted by a push.",
            f"To remove the app: paas apps:destroy -a {app}",
            cause="delete",
        )
    if update.ref.startswith(_TAGS):
        raise _tag(update, deploy)
    if not update.ref.startswith(_HEADS) or update.branch not in branches:
        raise BadInput(_wrong_branch(update, branches), _right_push(update, deploy), cause="wrong branch")
    if shallow:
        raise BadInput(
            "This clone is shallow: it does not hold the history of the commit.",
            "Fetch it first: git fetch --unshallow",
            cause="shallow",
        )
    return update


def _several(updates: Sequence[RefUpdate], count: int, deploy: str) -> BadInput:
    refs = ", ".join(shown(_short(update.ref)) for update in updates[:_MAX_NAMED])
    more = f" and {count - _MAX_NAMED} more" if count > _MAX_NAMED else ""
    return BadInput(
        f"A push updates one branch, not {count} refs ({refs}{more}).",
        f"Use: git push paas HEAD:{deploy}",
        cause="several refs",
    )


def _tag(update: RefUpdate, deploy: str) -> BadInput:
    name = update.ref.removeprefix(_TAGS)
    tag = (
        name if _BRANCH.fullmatch(name) else "TAG"
    )  # a name with special characters is not for a command line
    use = f"Use: git push paas {tag}^{{commit}}:refs/heads/{deploy}"
    return BadInput("Tags are not deployed.", use, cause="tag")


def _short(ref: str) -> str:
    return ref.removeprefix(_HEADS)


def _wrong_branch(update: RefUpdate, branches: Sequence[str]) -> str:
    names = " or ".join(branches)
    return f"{shown(_short(update.ref))} is not the branch that this app deploys, which is {names}."


def _right_push(update: RefUpdate, deploy: str) -> str:
    """Only the client knows what its local branch is called: `prod` and `main:prod` arrive alike."""
    if not (update.ref.startswith(_HEADS) and _BRANCH.fullmatch(update.branch)):
        return f"Use: git push paas HEAD:{deploy}"
    return (
        f"Use: git push paas {update.branch}:{deploy}, if your own branch is called {update.branch}; else the commit:"
        f" git push paas {update.new[:10]}:refs/heads/{deploy}"
    )


@dataclass(frozen=True)
class Options:
    """The options of `git push -o`: whether to wait for another push, and the canary's percentage of the requests."""

    wait: bool = True
    canary: int | None = None


def check_options(options: Sequence[str]) -> Options:
    """Raises BadInput for an unknown option."""
    found = Options()
    for option in options:
        match = re.fullmatch(r"canary(?:=(\d{1,2}|100)%?)?", option, re.ASCII)
        if match is not None:
            found = replace(found, canary=int(match[1] or CANARY_SHARE))
        elif option == "nowait":
            found = replace(found, wait=False)
        else:
            raise BadInput(
                f"{shown(option)} is not a push option.", "There are `-o nowait` and `-o canary=PERCENT`."
            )
    return found
