"""The dockerfile buildpack: each instruction that changes files is a step over those before it. Pure.

Only the stages that the last one needs are built. The steps are keyed like all others: by the layers below, the script,
the environment and the bytes of what they copy.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import replace
from typing import Any

from buildpacks import dockerscript
from buildpacks.dockercopy import Context, Source
from buildpacks.dockerlines import DOCKERFILE, Instruction, Lines, read_lines
from buildpacks.dockermounts import Mounted, read_mount
from buildpacks.dockerscript import PICKED
from buildpacks.dockerstage import PLATFORM, Stage, declare
from buildpacks.plan import FROM, REGISTRIES, WORK, Plan, Step, Tree, quoted

LANGUAGE = "Dockerfile"
LOOKS_FOR = (DOCKERFILE,)
SCRATCH = "scratch"
_RECIPE = "dockerfile-1"
_STAGE = re.compile(r"[a-z][a-z0-9._-]*")
_MODE = re.compile(r"[0-7]{3,4}|[ugoa]*[-+=][rwxX]*(?:,[ugoa]*[-+=][rwxX]*)*")
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
_MOST_ARCHIVE = 64 << 20


def detect(tree: Tree) -> str | None:
    return DOCKERFILE if tree.exists(DOCKERFILE) else None


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused naming the line."""
    lines = read_lines(tree)
    stages = _Stages(lines, Context(tree), tree)
    target = stages.stage(len(lines.stages) - 1)
    stages.finish(target)
    wanted = set(target.chain)
    steps = tuple(replace(step, in_image=step.name in wanted) for step in stages.steps)
    args = (*target.entrypoint, *target.command)
    return Plan(
        language=LANGUAGE,
        detected=DOCKERFILE,
        notes=(f"Building the last of {len(lines.stages)} stages",) if len(lines.stages) > 1 else (),
        warnings=stages.warnings(),
        steps=(dockerscript.tools_step(), *steps) if steps else (),
        env=target.env,
        default_processes={"web": shlex.join(args)} if args else {},
        base=target.base,
        source=False,
        config=target.config(),
    )


class _Stages:
    """Reads the stages that are needed, and collects their steps."""

    def __init__(self, lines: Lines, context: Context, tree: Tree) -> None:
        self._lines, self._context, self._tree = lines, context, tree
        self._done: dict[int, Stage] = {}
        self._names: dict[str, int] = {}
        self._before: dict[str, str] = {}
        for one in lines.before:
            declare(lines, one, self._before, {}, {})
        for index, stage in enumerate(lines.stages):
            words = stage[0].words
            name = words[-1].lower()
            if (
                len(words) == 3
                and words[1].lower() == "as"
                and _STAGE.fullmatch(name)
                and name not in self._names
            ):
                self._names[name] = index
            elif len(words) != 1:
                raise stage[0].refused("FROM takes an image, and AS with a name that no other stage has.")
        self.steps: list[Step] = []

    def stage(self, index: int) -> Stage:
        if index in self._done:
            return self._done[index]
        start, *rest = self._lines.stages[index]
        stage = self._begun(start, index)
        for one in rest:
            if one.name == "RUN":
                self.run(stage, one)
            elif one.name in ("COPY", "ADD"):
                self.copy(stage, one)
            else:
                stage.says(one)
        self._done[index] = stage
        return stage

    def warnings(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for stage in self._done.values() for text in stage.warnings))

    def finish(self, stage: Stage) -> None:
        """The folder that the app runs in has to be there, whether a step follows it or not."""
        if stage.unmade:
            script = dockerscript.run_script(["true"], stage.folder, "", own_home=False)
            self._add(stage, f"WORKDIR {quoted(stage.folder)}", script)

    def _begun(self, start: Instruction, index: int) -> Stage:
        platform = self._lines.expanded(start.flag("platform"), {**self._before, **PLATFORM}, start)
        if platform not in ("", PLATFORM["TARGETPLATFORM"]):
            raise start.refused(f"this machine is no {quoted(platform)}.", "Leave --platform out.")
        base = self._lines.expanded(start.words[0], self._before, start)
        if not base:
            raise start.refused(
                f"{quoted(start.words[0])} is empty: an ARG before the first FROM gives it a value."
            )
        earlier = self._names.get(base.lower(), index)
        if earlier < index:
            below = self.stage(earlier)
            return replace(below, index=index, args={}, env=dict(below.env), more=dict(below.more))
        return Stage(self._lines, index, "" if base == SCRATCH else FROM + base, self._before)

    def _add(self, stage: Stage, title: str, script: str, *, over: tuple[str, ...] = (), **more: Any) -> Step:
        """A step over the stage as it is, which becomes part of it."""
        step = Step(
            name=f"{stage.index}.{len(self.steps)}",
            title=title,
            script=script,
            outputs=("/",),
            key=(_RECIPE,),
            env=stage.variables,
            onto=(*stage.chain, *over, dockerscript.NAME),
            base=stage.base,
            bare=True,
            root=True,
            reused=f"{title}: layer reused",
            **more,
        )
        self.steps.append(step)
        stage.chain, stage.unmade = (*stage.chain, step.name), ""
        return step

    def _picked(self, of: Stage, source: str, patterns: list[str], one: Instruction) -> tuple[str, str]:
        """A step that copies files of another stage to where the next step finds them; its name and that place."""
        index = self._names.get(source.lower(), int(source) if source.isdecimal() and len(source) < 4 else -1)
        if not 0 <= index < of.index:
            raise one.refused(f"there is no earlier stage {quoted(source)}.", "Name one: FROM … AS NAME")
        stage = self.stage(index)
        place = f"{PICKED}/{len(self.steps)}"
        paths = [posixpath.join("/", pattern) for pattern in patterns]
        step = Step(
            name=f"picked.{len(self.steps)}",
            title=f"{one.shown}: reading",
            script=dockerscript.pick_script(paths, place),
            outputs=(place,),
            key=(_RECIPE,),
            onto=(*stage.chain, dockerscript.NAME),
            base=stage.base,
            bare=True,
            root=True,
        )
        self.steps.append(step)
        return step.name, place

    # instructions that change files

    def run(self, stage: Stage, one: Instruction) -> None:
        texts = [stage.expanded(text, one) for text in one.flags.get("mount", ())]
        mounts = [read_mount(text, one, stage.folder) for text in texts]
        before, over, inputs = list[str](), list[str](), list[str]()
        for mount in mounts:
            bound = mount.type == "bind"
            before.append(self._bound(stage, mount, one, over, inputs) if bound else mount.script())
        written: tuple[tuple[str, str], ...] = ()
        words = one.words
        if not one.exec_form:
            text = "\n".join(
                [one.words[0] if one.words else "", *(f"{doc.content}{doc.name}" for doc in one.heredocs)]
            )
            if len(one.heredocs) == 1 and re.fullmatch(r"<<-?[\"']?\w+[\"']?", one.words[0].strip()):
                text = self._lines.heredoc(replace(one.heredocs[0], expand=False), {}, one)
            words = (*stage.shell, text)
            if text.startswith("#!"):
                written, words = ((("run", text),), (f"{WORK}/run",))
                before.append(f"t chmod a+x {WORK}/run")
        if not words or not words[-1].strip():
            raise one.refused("RUN says nothing.")
        self._add(
            stage,
            one.shown,
            dockerscript.run_script(
                words, stage.folder, stage.user, own_home="HOME" in stage.variables, before=before
            ),
            over=tuple(over),
            inputs=tuple(dict.fromkeys(inputs)),
            written=written,
            without=tuple(mount.target for mount in mounts if mount.target),
            tools=(REGISTRIES,),
            secrets=tuple(mount.id for mount in mounts if mount.type == "secret"),
            caches=tuple((mount.id, mount.target) for mount in mounts if mount.type == "cache"),
        )

    def _bound(
        self, stage: Stage, mount: Mounted, one: Instruction, over: list[str], inputs: list[str]
    ) -> str:
        """What puts the files of a bind mount in their place, for as long as the step lasts."""
        if mount.source_stage:
            name, place = self._picked(stage, mount.source_stage, [mount.source], one)
            over.append(name)
            return f"put_picked {place} {shlex.quote(mount.target)}"
        sources = self._sources(mount.source, one)
        inputs += [path for source in sources for path in source.files]
        return "\n".join(
            f"put {shlex.quote(f'{WORK}/{source.path}')} {shlex.quote(mount.target)}" for source in sources
        )

    def _sources(self, word: str, one: Instruction) -> list[Source]:
        found = self._context.select(word)
        if not found:
            raise one.refused(
                f"{quoted(word)} is not in the repository, or .dockerignore leaves it out.",
                "Commit it, or correct the path: it begins at the app's root.",
            )
        return found

    def copy(self, stage: Stage, one: Instruction) -> None:
        """COPY, and ADD, which also unpacks archives and fetches addresses."""
        docs = {doc.name: self._lines.heredoc(doc, stage.variables, one) for doc in one.heredocs}
        words = [word if one.exec_form else stage.expanded(word, one) for word in one.words]
        *froms, to = words
        froms = [word for word in froms if not word.startswith("<<")]
        if not froms and not docs:
            raise one.refused(f"{one.name} needs a source and a destination.")
        owner, mode = (stage.expanded(one.flag(name), one) for name in ("chown", "chmod"))
        if mode and not _MODE.fullmatch(mode):
            raise one.refused(f"--chmod={quoted(mode)} is no mode.", "Write one like 755 or u+x.")
        place = stage.path(to)
        if to.endswith(("/", "/.")) or to == ".":
            place = place.rstrip("/") + "/"
        elif len(froms) + len(docs) > 1:
            raise one.refused(f"several files go to a folder: write {quoted(to)}/")
        puts, over, inputs = list[tuple[str, str]](), list[str](), list[str]()
        written = tuple((f"heredoc/{name}", text) for name, text in docs.items())
        puts += [("put", f"{WORK}/{path}") for path, _ in written]
        if one.flag("from"):
            name, picked = self._picked(stage, one.flag("from"), froms, one)
            over.append(name)
            puts.append(("put_picked", picked))
            froms = []
        for word in froms:
            if one.name == "ADD" and (special := self._added(word, one)):
                over.append(special[0])
                puts.append(("put_picked", special[1]))
                continue
            for source in self._sources(word, one):
                inputs += source.files
                puts.append(("put", f"{WORK}/{source.path}".rstrip("/")))
        script = dockerscript.copy_script(puts, place, owner, mode)
        self._add(
            stage, one.shown, script, over=tuple(over), inputs=tuple(dict.fromkeys(inputs)), written=written
        )

    def _added(self, word: str, one: Instruction) -> tuple[str, str] | None:
        """A step that unpacks an archive or fetches an address, by the stack's programs; None for ordinary files."""
        place = f"{PICKED}/{len(self.steps)}"
        if re.match("https?://", word):
            name = posixpath.basename(word.partition("?")[0].partition("#")[0])
            if not name:
                raise one.refused(f"{quoted(word)} does not end in the name of a file.")
            script = f"mkdir -p {place}/0/files\ncurl -fsSL --retry 2 -o {place}/0/files/{shlex.quote(name)} -- {shlex.quote(word)}\n"
            script += f"chmod 600 {place}/0/files/*\n"
            inputs: tuple[str, ...] = ()
        elif re.match(r"[a-z]+://|git@|[a-z.]+\.[a-z]+/.*\.git", word):
            raise one.refused(f"ADD of {quoted(word)} is not supported.", "Fetch it in a RUN.")
        else:
            found = self._context.select(word)
            if len(found) != 1 or found[0].folder or not self._is_archive(found[0].path):
                return None
            inputs = found[0].files
            script = f"mkdir -p {place}/0/folder\ntar -C {place}/0/folder --no-same-owner -xf {shlex.quote(f'{WORK}/{found[0].path}')}\n"
        step = Step(
            name=f"picked.{len(self.steps)}",
            title=f"{one.shown}: reading",
            script=script,
            outputs=(place,),
            key=(_RECIPE,),
            inputs=inputs,
            onto=(dockerscript.NAME,),
            tools=(REGISTRIES,),
            bare=True,
            root=True,
        )
        self.steps.append(step)
        return step.name, place

    def _is_archive(self, path: str) -> bool:
        try:
            data = self._tree.read(path, _MOST_ARCHIVE)
        except (FileNotFoundError, ValueError):
            return False
        return data.startswith(_ARCHIVES) or data[257:262] == b"ustar"
