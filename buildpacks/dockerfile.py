"""The dockerfile buildpack: each instruction that changes files is a step over those before it. Pure.

Only the stages that the last one needs are built. The steps are keyed like all others: by the layers below, the script,
the environment and the bytes of what they copy.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from buildpacks import aptpackages, dockerscript
from buildpacks.dockerbase import SCRATCH, Base, Docker, Heads, stack_of
from buildpacks.dockercopy import Context, Source
from buildpacks.dockerlines import DOCKERFILE, Instruction, Lines, read_lines, read_triggers
from buildpacks.dockermounts import Mounted, read_mount
from buildpacks.dockerscript import PICKED
from buildpacks.dockerstage import PLATFORM, Stage
from buildpacks.plan import FROM, REGISTRIES, WORK, BuildRefused, Plan, Step, Tree, quoted

LANGUAGE = "Dockerfile"
LOOKS_FOR = (DOCKERFILE,)
NOTHING_KNOWN = Docker()
_RECIPE = "dockerfile-1"
_MODE = re.compile(r"[0-7]{3,4}|[ugoa]*[-+=][rwxX]*(?:,[ugoa]*[-+=][rwxX]*)*")
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
_SOURCES = re.compile(r"sources\.list(?!\.d/)|/etc/apt/?$", re.MULTILINE)
"""What an instruction says that writes apt's sources itself."""
_MOST_ARCHIVE = 64 << 20


def detect(tree: Tree) -> str | None:
    return DOCKERFILE if tree.exists(DOCKERFILE) else None


def plan(tree: Tree, docker: Docker = NOTHING_KNOWN) -> Plan:
    """What the Dockerfile says, or, if images are missing in `docker`, a plan that only `wants` them.

    Raises BuildRefused naming the line.
    """
    if docker.path != DOCKERFILE and not tree.exists(docker.path):
        raise BuildRefused(
            f"{quoted(docker.path)} is not in the commit; the app is set to have its Dockerfile there.",
            "Commit it, or choose another: paas builds:set dockerfile=PATH",
        )
    lines = read_lines(tree, docker.path)
    heads = Heads(lines)
    index = heads.target(docker.target)
    stages = _Stages(lines, heads, Context(tree, docker.path), tree, docker.images)
    wants = {name: place for name, place in heads.wanted(index).items() if name not in docker.images}
    if wants:
        return Plan(LANGUAGE, docker.path, wants=tuple(wants.items()))
    target = stages.stage(index)
    stages.finish(target)
    wanted = set(target.chain)
    steps = tuple(replace(step, in_image=step.name in wanted) for step in stages.steps)
    args = (*target.entrypoint, *target.command)
    which = f"the stage {docker.target}" if docker.target else "the last"
    return Plan(
        language=LANGUAGE,
        detected=docker.path,
        notes=(
            *((f"Building {which} of {len(lines.stages)} stages",) if len(lines.stages) > 1 else ()),
            *stages.notes,
        ),
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

    def __init__(
        self, lines: Lines, heads: Heads, context: Context, tree: Tree, images: Mapping[str, Base]
    ) -> None:
        self._lines, self._heads, self._context, self._tree = lines, heads, context, tree
        self._images = images
        self._done: dict[int, Stage] = {}
        self.steps: list[Step] = []
        self.notes: list[str] = []

    def stage(self, index: int) -> Stage:
        if index in self._done:
            return self._done[index]
        start, *rest = self._lines.stages[index]
        stage, triggers = self._begun(start, index)
        for one in (*triggers, *rest):
            if _SOURCES.search(one.text):
                stage.machine_apt = False
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

    def _begun(self, start: Instruction, index: int) -> tuple[Stage, list[Instruction]]:
        """The stage at its FROM, and the instructions that an image brings along."""
        outer = self._heads.before
        platform = self._lines.expanded(start.flag("platform"), {**outer, **PLATFORM}, start)
        if platform not in ("", PLATFORM["TARGETPLATFORM"]):
            raise start.refused(f"this machine is no {quoted(platform)}.", "Leave --platform out.")
        name = self._heads.image(index)
        earlier = self._heads.earlier(name, index)
        if earlier is not None:
            below = self.stage(earlier)
            return replace(below, index=index, args={}, env=dict(below.env), more=dict(below.more)), []
        if name == SCRATCH:
            return Stage(self._lines, index, "", outer), []
        if (stack := stack_of(name)) is not None:
            if stack != name:
                self.notes.append(f"FROM {name} is the stack {stack} here: the same Debian")
            return Stage(self._lines, index, FROM + stack, outer, machine_apt=True), []
        base = self._images[name]
        triggers = read_triggers(base.triggers, start)
        if triggers:
            self.notes.append(f"{quoted(name)} brings {len(triggers)} ONBUILD instructions, which come first")
        return base.stage(self._lines, index, name, outer), triggers

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
        stage = self._source(of, source, one)
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

    def _source(self, of: Stage, name: str, one: Instruction) -> Stage:
        """An earlier stage, or an image as it is."""
        index = self._heads.earlier(name, of.index)
        if index is not None:
            return self.stage(index)
        if (stack := stack_of(name)) is not None:
            return Stage(self._lines, of.index, FROM + stack, {})
        if name not in self._images:
            raise one.refused(f"there is no earlier stage {quoted(name)}.", "Name one: FROM … AS NAME")
        return self._images[name].stage(self._lines, of.index, name, {})

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
            tools=(REGISTRIES, aptpackages.TOOL) if stage.machine_apt else (REGISTRIES,),
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
        if one.flag("checksum") and not any(re.match("https?://", word) for word in froms):
            raise one.refused("--checksum is for what is fetched from an address.", "Leave it out.")
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
            script += f"chmod 600 {place}/0/files/*\n" + self._checked(one, f"{place}/0/files/{name}")
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

    def _checked(self, one: Instruction, path: str) -> str:
        """What compares a file with the digest of --checksum, if there is one."""
        checksum = one.flag("checksum")
        if not checksum:
            return ""
        if not re.fullmatch("sha256:[0-9a-f]{64}", checksum):
            raise one.refused(f"--checksum={quoted(checksum)} is no digest.", "Write one like sha256:2cf2…")
        said = shlex.quote(f"what was fetched is not {checksum}, but sha256:")
        quoted_path = shlex.quote(path)
        return (
            f"found=$(sha256sum <{quoted_path}); found=${{found%% *}}\n"
            f'[ "$found" = {checksum.removeprefix("sha256:")} ] || {{ echo {said}"$found" >&2; exit 1; }}\n'
        )

    def _is_archive(self, path: str) -> bool:
        try:
            data = self._tree.read(path, _MOST_ARCHIVE)
        except (FileNotFoundError, ValueError):
            return False
        return data.startswith(_ARCHIVES) or data[257:262] == b"ustar"
