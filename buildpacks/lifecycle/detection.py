"""The first phase: which group of buildpacks builds the app, and the build plan that they agree on.

Groups are tried in order; a composite buildpack stands for each group of its order in turn. The first group counts of which
the `bin/detect` of every required buildpack passes, and each requirement has a provider.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

from buildpacks.lifecycle.descriptor import Buildpack, Entry, Known, Refused, ended, read_toml, tables

FAILS = 100
"""The status of a `bin/detect` that does not want the app."""
_MOST_GROUPS, _MOST_TRIALS, _MOST_NESTED = 1000, 10_000, 20
_SAID_BYTES = 16 * 1024


@dataclass(frozen=True)
class Option:
    """One of the plans that a buildpack offers: names that it provides, and what it requires, each with `name`."""

    provides: tuple[str, ...] = ()
    requires: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What `bin/detect` of a buildpack ended with, said, and offers."""

    status: int
    said: str = ""
    options: tuple[Option, ...] = (Option(),)


@dataclass(frozen=True)
class Member:
    """A buildpack of a group."""

    pack: Buildpack
    optional: bool


@dataclass(frozen=True)
class Chosen:
    """The buildpacks that build, in order, and what each provides and requires."""

    members: tuple[tuple[Buildpack, Option], ...]

    def entries(self, pack: Buildpack, met: set[str]) -> list[dict[str, Any]]:
        """The plan of one buildpack: what any requires of what it provides, and nobody before it has met."""
        names = {name for one, option in self.members if one is pack for name in option.provides} - met
        return [item for _, option in self.members for item in option.requires if item["name"] in names]


class Detection:
    """One search for a group that fits. `detect` runs the `bin/detect` of a buildpack, once for each."""

    def __init__(self, known: Known, detect: Callable[[Buildpack], Verdict]) -> None:
        self._known, self._detect = known, detect
        self._verdicts: dict[str, Verdict] = {}
        self._groups = 0

    def run(self, packs: Sequence[Buildpack]) -> Chosen:
        """Raises Refused with what each `bin/detect` answered if no group fits."""
        group = tuple(Entry(pack.id, pack.version) for pack in packs)
        if (found := self._order((group,), (), (), "the app", optional=False)) is not None:
            return found
        against = [name for name, verdict in self._verdicts.items() if verdict.status]
        for name in against:
            if said := self._verdicts[name].said.rstrip():
                print(said)
        for name in against:
            if (status := self._verdicts[name].status) != FAILS:
                raise Refused(f"bin/detect of the buildpack {name} {ended(status)}")
        if against:
            raise Refused(f"no group of the buildpacks fits: bin/detect refused of {', '.join(against)}")
        raise Refused(f"no group of the buildpacks fits: {self._why}")

    _why = "none has a buildpack that builds"

    def _order(
        self,
        order: Sequence[Sequence[Entry]],
        done: tuple[Member, ...],
        rest: tuple[tuple[Entry, str], ...],
        by: str,
        *,
        optional: bool,
    ) -> Chosen | None:
        """The first group of `order` that fits between the members `done` and the entries of the `rest`."""
        for group in order:
            if (found := self._group(done, (*((entry, by) for entry in group), *rest))) is not None:
                return found
        return self._group(done, rest) if optional else None

    def _group(self, done: tuple[Member, ...], rest: tuple[tuple[Entry, str], ...]) -> Chosen | None:
        self._groups += 1
        if self._groups > _MOST_GROUPS or len(done) + len(rest) > _MOST_NESTED * 10:
            raise Refused(f"the buildpacks have more than {_MOST_GROUPS} groups to try")
        for number, (entry, by) in enumerate(rest):
            pack = self._known.find(entry, by)
            if pack.order:
                if by.count(" > ") > _MOST_NESTED:
                    raise Refused(f"the buildpack {pack} contains itself, or its groups lie too deep")
                after = rest[number + 1 :]
                return self._order(pack.order, done, after, f"{by} > {pack.id}", optional=entry.optional)
            if not any(member.pack.id == pack.id for member in done):
                done = (*done, Member(pack, entry.optional))
        return self._fitting(done)

    def _fitting(self, members: Sequence[Member]) -> Chosen | None:
        """What is left of a flat group, if it fits."""
        passed = []
        for member in members:
            verdict = self._verdict(member.pack)
            if verdict.status == 0:
                passed.append(member)
            elif not member.optional:
                return None
        options = [self._verdict(member.pack).options for member in passed]
        for trial in islice(product(*options), _MOST_TRIALS):
            if found := self._tried(list(zip(passed, trial, strict=True))):
                return Chosen(tuple((member.pack, option) for member, option in found))
        return None

    def _verdict(self, pack: Buildpack) -> Verdict:
        if str(pack) not in self._verdicts:
            self._verdicts[str(pack)] = self._detect(pack)
        return self._verdicts[str(pack)]

    def _tried(self, trial: list[tuple[Member, Option]]) -> list[tuple[Member, Option]]:
        """The trial without the optional members that nobody requires or provides for; empty if it fails."""
        while (lonely := _lonely(trial)) is not None:
            position, name, verb = lonely
            member = trial[position][0]
            if not member.optional:
                self._why = f"the buildpack {member.pack} {verb} {name}"
                return []
            del trial[position]
        return trial


def _lonely(trial: Sequence[tuple[Member, Option]]) -> tuple[int, str, str] | None:
    """The first member that requires what none up to it provides, or provides what none from it on requires."""
    provided: set[str] = set()
    waiting: dict[str, int] = {}
    for position, (_, option) in enumerate(trial):
        for name in option.provides:
            provided.add(name)
            waiting.setdefault(name, position)
        for item in option.requires:
            if item["name"] not in provided:
                return position, item["name"], "requires what none before it provides:"
            waiting.pop(item["name"], None)
    return next(((at, name, "provides what none requires:") for name, at in waiting.items()), None)


def run_detect(pack: Buildpack, env: dict[str, str], plan: Path, app: Path) -> Verdict:
    """Run `bin/detect`. Raises Refused for a build plan that is none."""
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.write_text("")
    program, platform = pack.folder / "bin/detect", env["CNB_PLATFORM_DIR"]
    if not os.access(program, os.X_OK):
        raise Refused(f"the buildpack {pack} has no bin/detect that can be run")
    env = {**env, "CNB_BUILD_PLAN_PATH": str(plan)}
    try:
        done = subprocess.run(
            [program, platform, plan],
            env=env, cwd=app, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    except OSError as error:
        raise Refused(f"bin/detect of the buildpack {pack} cannot be run: {error.strerror}") from None
    said = done.stdout[-_SAID_BYTES:].decode(errors="replace")
    if done.returncode:
        return Verdict(done.returncode, said)
    found = read_toml(plan, f"the buildpack {pack}")
    return Verdict(0, said, (_option(found, pack), *(_option(one, pack) for one in tables(found.get("or")))))


def _option(found: dict[str, Any], pack: Buildpack) -> Option:
    provides, requires = tables(found.get("provides")), tables(found.get("requires"))
    if not all(isinstance(item.get("name"), str) for item in (*provides, *requires)):
        raise Refused(f"the build plan of the buildpack {pack} has an entry without a name")
    return Option(tuple(item["name"] for item in provides), tuple(requires))
