"""From a source to an image: choose a buildpack, make or reuse each layer, put the image together."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from buildpacks import aptpackages, detect
from buildpacks.advice import not_read, nothing_to_run
from buildpacks.dockerbase import Base, Docker
from buildpacks.dockerlines import DOCKERFILE
from buildpacks.plan import FROM, TOOLS, BuildRefused, Plan, Step, quoted
from buildpacks.pyversion import STACK_ONLY, Pythons
from paas.build import registry as registries
from paas.build.bases import BaseLayers
from paas.build.declared import own_config_of, started, strangers
from paas.build.kept import keep_layer, kept_layer
from paas.build.output import Output
from paas.build.platform import Platform
from paas.build.processes import released_in
from paas.build.pull import Pulled, stored_image
from paas.build.registry import Registry
from paas.build.source import SourceTree
from paas.build.step import BASE_ENV, MadeLayer, StepSpec, run_step, spawner_failure, stacked
from paas.build.step_view import StepView, stack_below
from paas.manifest.appjson import AppManifest, parse_app_json
from paas.manifest.procfile import MAX_BYTES as PROCFILE_BYTES
from paas.manifest.procfile import doubts, parse_procfile
from paas.nouns.buildsettings import builder
from paas.nouns.errors import BadInput, BuildFailed
from paas.nouns.model import App, Image
from paas.nouns.units import shown_size
from paas.store import images
from runtime.client import SpawnerError
from runtime.image.ocilayout import ImageStore
from runtime.stack.build import Stack

RECIPE = "build-1"
FIXED_FILES = ("Procfile", "app.json")
WARNED = "warned"
"""The key of an image's manifest with the warnings of the push that made it: the next push repeats none of them."""
MOST_WARNINGS = 100


@dataclass(frozen=True)
class Described:
    """What a source tree says about itself, before anything runs."""

    plan: Plan
    processes: dict[str, str]
    declared: tuple[str, ...]
    manifest: AppManifest
    warnings: tuple[str, ...] = ()
    stack: str = "debian-12"
    """What it is built and run on."""

    def require_processes(self, tree: SourceTree) -> None:
        """Raises BuildFailed when nothing says what to run."""
        if not self.processes and not self.plan.released:
            raise BuildFailed(
                f"The {self.plan.language} app says nothing about what to run.",
                nothing_to_run(tree, self.plan.language),
                cause="no process types",
            )


@dataclass
class Layers:
    """The layer of each step by name, and the digests of those that are new."""

    by_step: dict[str, MadeLayer] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    after_source: set[str] = field(default_factory=set)
    """Names of the steps whose layers lie above the source."""


def read_manifest(tree: SourceTree) -> AppManifest:
    """What app.json says. Raises BadInput naming the line."""
    for path in FIXED_FILES:
        if tree.kind(path) == "link":
            raise BadInput(f"{path} is a symbolic link.", "Commit the file itself.")
    if tree.procfile != "Procfile" and not tree.exists("Procfile"):
        raise BadInput(
            f"{tree.procfile} is not in the commit; the app is set to have its Procfile there.",
            "Commit it, or choose another: paas builds:set procfile=PATH",
        )
    return parse_app_json(_read(tree, "app.json", 1 << 20)) if tree.exists("app.json") else AppManifest()


def describe(
    tree: SourceTree,
    manifest: AppManifest | None = None,
    pythons: Pythons = STACK_ONLY,
    settings: Mapping[str, str] | None = None,
    images: Mapping[str, Base] | None = None,
) -> Described:
    """Read the Procfile (and app.json, if `manifest` is not given) and choose the buildpack, unless the app's build `settings`
    do; `images` are those from elsewhere. Pure but for reading the source.

    Raises BadInput naming the line, BuildFailed («no buildpack matched» …).
    """
    manifest = read_manifest(tree) if manifest is None else manifest
    procfile = parse_procfile(_read(tree, "Procfile", PROCFILE_BYTES)) if tree.exists("Procfile") else {}
    settings = settings or {}
    chosen = builder(settings)
    docker = Docker(settings.get("dockerfile", DOCKERFILE), settings.get("target", ""), images or {})
    try:
        plan = detect.choose(tree, procfile, (chosen,) if chosen else manifest.buildpacks, pythons, docker)
    except BuildRefused as error:
        cause = "no buildpack matched" if error.message.startswith("No buildpack") else "cannot be built"
        raise BuildFailed(error.message, error.hint, cause=cause) from None
    processes = {**plan.default_processes, **started(plan, procfile)}
    processes = _with_predeploy(manifest, processes)
    warnings = [
        *plan.warnings,
        *not_read(tree, plan.language),
        *doubts(procfile),
        *strangers(manifest, processes),
    ]
    if manifest.stack not in ("", pythons.stack):
        warnings.append(
            f"app.json: there is no stack {quoted(manifest.stack)}; the app is on {pythons.stack}"
        )
    if processes and "web" not in processes:
        warnings.append("No web process: the app gets no HTTP requests")
    stack = plan.stack or pythons.stack
    return Described(plan, processes, tuple(procfile), manifest, tuple(warnings), stack)


def _with_predeploy(manifest: AppManifest, processes: dict[str, str]) -> dict[str, str]:
    predeploy = manifest.scripts.get("paas.predeploy")
    if not predeploy or not processes:
        return processes
    return {**processes, "release": _both(predeploy, processes.get("release"))}


def _all_warnings(described: Described) -> tuple[str, ...]:
    return (*described.manifest.warnings, *described.warnings)[:MOST_WARNINGS]


def _both(predeploy: str, release: str | None) -> str:
    """One command: app.json's script, then the Procfile's release command if the script succeeds."""
    return " && ".join(f"bash -c {shlex.quote(command)}" for command in (predeploy, release) if command)


@dataclass(frozen=True)
class ImageJob:
    """What an image is built for and from; `number` is the build's, `config` the vars that steps may see."""

    platform: Platform
    app: App
    number: int
    tree: SourceTree
    config: Mapping[str, str]
    stack: Stack
    output: Output
    images: Mapping[str, Pulled] = field(default_factory=dict)
    """Those from elsewhere that the plan names, by these names."""


def build_image(job: ImageJob, described: Described) -> Image:
    """Make every layer that is not there yet, then the image and its row.

    Raises BuildFailed with the cause class, Cancelled, Unavailable.
    """
    builder = _Builder(job)
    builder.run(described.plan)
    if described.plan.released:
        described = builder.released(described)
    _say_processes(described, job.output)
    return builder.assemble(described)


class _Builder:
    def __init__(self, job: ImageJob) -> None:
        self.platform, self.app, self.number, self.tree = job.platform, job.app, job.number, job.tree
        self.config, self.stack, self.output = job.config, job.stack, job.output
        self.registry: Registry = registries.load(job.platform.layout)
        self.layers = Layers()
        self.base = BaseLayers(self.platform, self.stack, job.images, self.output)
        self.source = MadeLayer("", 0, 0)
        with job.platform.store.read() as tx:
            self.before = {digest for image in images.of_app(tx, job.app.id) for digest in image.layers}
        self.store = ImageStore(job.platform.layout.images, job.platform.layout.stacks)

    def run(self, plan: Plan) -> None:
        """Make the layers. The source becomes one beside the steps where none of them stands on it."""
        if plan.source or any(step.source for step in plan.steps):
            self.source = self._source_layer()
            self._run_steps(plan)
            return
        with ThreadPoolExecutor(1) as beside:
            source = beside.submit(self._source_layer)
            self._run_steps(plan)
        self.source = source.result()

    def _run_steps(self, plan: Plan) -> None:
        self.layers.after_source.update(step.name for step in _after(plan))
        announced = False
        for step in [*_before(plan), *_after(plan)]:
            key = self._key(step)
            made = kept_layer(self.platform, key, step.apart)
            if made is not None:
                if step.reused:
                    self.output.line(f"-----> {step.reused}")
            else:
                self.output.line(f"-----> {step.title}")
                for sentence in () if announced else self.registry.withheld:
                    self.output.line(f"       {sentence}")
                announced = True
                made = run_step(self.platform, self.app, self.number, self._spec(plan, step), self.output)
                keep_layer(self.platform, key, made, step.apart)
                self.layers.fresh.update(layer.digest for layer in made.all)
            self.layers.by_step[step.name] = made

    def released(self, described: Described) -> Described:
        """With the processes that the build itself named; those of the Procfile stay. Raises BuildFailed if there are none."""
        plan = described.plan
        digest = self.layers.by_step[plan.steps[-1].name].digest
        said = released_in(self.platform.layout.images, digest, plan.released)
        found = said.processes
        for line in said.lines:
            self.output.line(line)
        processes = {**found, **described.processes} if described.processes else found
        if not described.processes:
            processes = _with_predeploy(described.manifest, processes)
        plan = replace(
            plan, default_processes=found, labels=said.labels, released="", env={**plan.env, **said.env}
        )
        described = replace(described, plan=plan, processes=processes)
        described.require_processes(self.tree)
        return described

    def assemble(self, described: Described) -> Image:
        """Write config and manifest, and the image's row."""
        plan = described.plan
        steps = self.layers.by_step
        before, after = (
            [layer for step in some if step.in_image for layer in steps[step.name].all]
            for some in (_before(plan), _after(plan))
        )
        made = [*before, *([self.source] if plan.source else []), *after]
        app_layers = [layer for layer in made if layer.digest]
        base = self.base.layers(plan.base)
        digests = stacked((*base, *(layer.digest for layer in app_layers)), "The image")
        titles = {layer.digest: step.title for step in plan.steps for layer in steps[step.name].all}
        titles |= {self.source.digest: "Source"}
        stands_on = plan.base if plan.base.startswith(FROM) else f"Stack {self.stack.name}"
        made_by = dict.fromkeys(base, stands_on.replace(FROM, "FROM ", 1)) | titles
        image = self._written(described, digests, made_by)
        fresh = [layer for layer in app_layers if layer.digest in self.layers.fresh - self.before]
        new = f"{len(fresh)} new, {shown_size(sum(layer.size_bytes for layer in fresh))}"
        said = f"{len(digests)} layers, {shown_size(image.size_bytes)} ({new})"
        self.output.line(f"-----> Image {image.digest[:15]}… : {said}")
        return image

    def _written(self, described: Described, digests: tuple[str, ...], made_by: Mapping[str, str]) -> Image:
        plan = described.plan
        manifest = {**described.manifest.to_json(), WARNED: list(_all_warnings(described))}
        if plan.config is not None:
            config = own_config_of(described.processes, plan.config, [made_by[one] for one in digests])
            return stored_image(self.platform, self.app, Pulled("", config, digests), manifest)[0]
        env = {"PATH": ":".join((*plan.path, BASE_ENV["PATH"])), "HOME": "/app", **plan.env}
        digest = self.store.write(
            digests,
            env=env,
            processes=described.processes,
            labels={**plan.labels, "paas.language": plan.language},
            made_by=made_by,
        )
        size = self.store.read(digest).size_bytes
        image = Image(self.app.id, digest, digests, env, described.processes, manifest, self.stack.name, size)
        with self.platform.store.write() as tx:
            images.add(tx, image)
        return image

    def _source_layer(self) -> MadeLayer:
        key = source_key(self.app.id, self.tree.tree)
        kept = kept_layer(self.platform, key)
        if kept is not None:
            return kept
        try:
            made = self.platform.spawner.unpack(self.tree.tar_name)
        except (SpawnerError, OSError) as error:
            raise spawner_failure(error) from error
        layer = MadeLayer(made.digest or "", made.size_bytes, made.files)
        keep_layer(self.platform, key, layer)
        self.layers.fresh.add(layer.digest)
        return layer

    def _below(self, step: Step) -> tuple[str, ...]:
        """Layers of the packages, of the steps it builds on and, if it asks for it, the source, which lies where it does
        in the image."""
        made = self.layers.by_step
        below = [digest for name in step.images for digest in self.base.images[name].stacked]
        below += [made[name].digest for name in (aptpackages.NAME, aptpackages.BUILD_NAME) if name in made]
        below += [made[name].digest for name in step.onto if name not in self.layers.after_source]
        if step.source:
            below.append(self.source.digest)
        below += [made[name].digest for name in step.onto if name in self.layers.after_source]
        return tuple(dict.fromkeys(digest for digest in below if digest))

    def _key(self, step: Step) -> str:
        parts: list[Any] = [
            RECIPE,
            "" if step.bare else step.name,
            *self.base.layers(step.base),
            *self._below(step),
            *step.key,
        ]
        parts += [step.script, list(step.outputs), sorted(step.env.items())]
        parts += [self.registry.uv_version if "uv" in step.tools else ""]
        if step.bare:
            parts += [[path, *self.tree.digest(path)] for path in step.inputs]
            parts += ["bare", step.without, step.secrets, step.caches]
        else:
            parts += [
                [path, hashlib.sha256(self.tree.read(path, 64 << 20)).hexdigest()] for path in step.inputs
            ]
        if step.written:
            parts.append(step.written)
        if step.config:
            parts.append(sorted(self.config.items()))
        if step.root:
            parts.append("root")
        if aptpackages.TOOL in step.tools:
            parts.append(self.registry.apt.get(stack_below(step, self.stack.name), []))
        if not step.shared:
            parts += [self.app.id, list(self.registry.fingerprint())]
        return _digest(parts)

    def _spec(self, plan: Plan, step: Step) -> StepSpec:
        seen = StepView(self.platform.layout, self.app.id, self.config, self.stack.name, self.registry)
        mounts = seen.mounts(step)
        whole_root = step.outputs == ("/",)
        return StepSpec(
            title=step.title,
            script=step.script,
            layers=stacked((*self.base.layers(step.base), *self._below(step)), step.title),
            env=seen.environment(plan, step),
            mounts=mounts,
            stdin=self.tree.pack(() if step.source else step.inputs, (*step.written, *seen.secrets(step))),
            outputs=step.outputs,
            apart=step.apart,
            bare=step.bare,
            without=(TOOLS, *step.without, *(mount.destination for mount in mounts)) if whole_root else (),
            root=step.root,
            failure_hints=step.failure_hints,
            notices=step.notices,
        )


def source_key(app_id: str, tree: str) -> str:
    """The key of the layer that a source becomes."""
    return _digest([RECIPE, "source", app_id, tree])


def _say_processes(described: Described, output: Output) -> None:
    output.line("-----> Discovering process types")
    if described.declared:
        output.line(f"       Procfile declares types -> {', '.join(described.declared)}")
    defaults = [name for name in described.plan.default_processes if name not in described.declared]
    if defaults:
        output.line(f"       Default types for {described.plan.language} -> {', '.join(defaults)}")
    for name in defaults:
        output.line(f"       {name} runs: {described.processes[name]}")


def _before(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if not step.after_source]


def _after(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if step.after_source]


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


def _read(tree: SourceTree, path: str, limit: int) -> bytes:
    try:
        return tree.read(path, limit)
    except ValueError:
        raise BadInput(f"{path} is larger than {limit >> 10} KiB.") from None
