"""A push after its objects have arrived: build the image, release it, and answer truthfully how that ended."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from paas.build.base import BUILT_AS
from paas.build.bases import BaseImages
from paas.build.image import WARNED, Described, ImageJob, build_image, describe, read_manifest, source_key
from paas.build.output import Output
from paas.build.platform import Platform
from paas.build.pythons import available
from paas.build.source import SourceTree
from paas.build.stack import load_or_make
from paas.build.turns import TURNS, Turn, take_turn
from paas.daemon.turns import Turns
from paas.logs import platform_line
from paas.manifest.appjson import AppManifest
from paas.manifest.wishes import left_alone, left_unset, wanted_vars
from paas.nouns.errors import BadInput, BuildFailed, Cancelled, Conflict, NotFound, PaasError, Unavailable
from paas.nouns.model import App, Build, Image
from paas.nouns.names import OBJECT_ID
from paas.release.canary import begin_pushed, check_beside, come_up
from paas.release.capacity import admitted
from paas.release.change import Push
from paas.release.deployment import WAIT_S, Cancel, deploy, never, tag
from paas.release.postdeploy import run_script, scripts_of
from paas.release.push_output import PushOutput, open_log
from paas.runs.specs import RELEASE_TYPE
from paas.store import Tx, apps, builds, configs, events, formations, images, layer_keys, releases
from runtime.image.errors import ImageError
from runtime.kernel.process import this_process
from runtime.stack.build import Stack

_READING = Turns(1, 1, "Other sources are being read")
"""Lock files of strangers take seconds and much memory to read: two at a time, each owner's one after the other."""


@dataclass(frozen=True)
class PushRequest:
    """What the git server asks for."""

    commit: str
    tree: str
    actor: str
    wait: bool = True
    canary: int | None = None
    """Percent of the requests that the release gets beside the serving one, instead of serving itself."""
    again: int | None = None
    """Build the source of this release, which serves, once more; nothing is deployed if another serves by then."""
    deploy: bool = True
    """Otherwise the image is built, and nothing else happens."""
    origin: str = ""
    """Where the source came from if it was not pushed; an archive has no `commit`."""

    @property
    def source(self) -> str:
        """What is built, in a few words."""
        return " of ".join(part for part in (self.commit[:7], self.origin) if part)

    @classmethod
    def parse(cls, data: Mapping[str, Any], actor: str) -> PushRequest:
        """Raises BadInput if `data` is no push."""
        commit, tree = data.get("commit"), data.get("tree")
        for name, id in (("commit", commit), ("tree", tree)):
            if not isinstance(id, str) or not OBJECT_ID.fullmatch(id):
                raise BadInput(f"{name} is not an object id of 40 hexadecimal digits.")
        share = data.get("canary")
        canary = share if isinstance(share, int) else None
        return cls(str(commit), str(tree), actor, wait=data.get("wait", True) is not False, canary=canary)


def rebuild_request(tx: Tx, app: App, actor: str, *, deploy: bool) -> PushRequest:
    """What builds the serving release's source once more. Raises NotFound if there is none, or its build is forgotten."""
    serving = releases.serving(tx, app)
    if serving is None or serving.image_digest is None:
        raise NotFound(f"{app.name} serves nothing that could be built again.", "Push it: git push paas main")
    image = images.of(tx, serving)
    built_as = image.manifest.get(BUILT_AS) if image else None
    build = builds.of_image(tx, app.id, built_as or serving.image_digest)
    if build is None:
        raise _forgotten(serving.number) if serving.commit or serving.origin else _never_here(serving.number)
    request = PushRequest(build.commit, build.tree, actor, wait=False, again=serving.number, deploy=deploy)
    return replace(request, origin=build.origin)


def _never_here(release: int) -> NotFound:
    return NotFound(
        f"The image of v{release} was built elsewhere: there is no source of it here.",
        "Deploy a newer one: paas deploy --image REF",
    )


def _forgotten(release: int) -> NotFound:
    return NotFound(
        f"The source of v{release} is no longer kept.",
        "Push it again: git commit --allow-empty -m Rebuild && git push paas main",
    )


@dataclass(frozen=True)
class PushResult:
    """`release` is 0 if the image was not deployed."""

    release: int
    build: int
    image_digest: str

    def to_json(self) -> dict[str, Any]:
        return {"release": self.release, "build": self.build, "image": self.image_digest}


def run_push(
    platform: Platform,
    app: App,
    request: PushRequest,
    out: Callable[[str], None],
    cancelled: Cancel = never,
) -> PushResult:
    """Build the exported tree and deploy it; lines of the push grammar go to `out` as they come.

    Returns when the new release serves, or is up as a canary. Raises PaasError otherwise; then the old release is as it was.
    """
    push = _RunningPush(platform, app, request, cancelled)
    try:
        with open_log(platform.layout.builds / app.id, push.build.number) as log:
            output = PushOutput(out, log)
            try:
                return push.run(output)
            except PaasError as error:
                output.failure(error)
                raise
    except PaasError as error:
        status = "cancelled" if isinstance(error, Cancelled) else "failed"
        push.finish_build(status, cause=error.cause or error.message)
        raise
    except (ImageError, OSError) as broken:
        failure = _storage_failure(broken)
        push.finish_build("failed", cause=failure.cause)
        raise failure from broken
    finally:  # does nothing to a build that has finished
        push.finish_build("failed", cause="internal error")


class _RunningPush:
    """One push on its way: from the request to a release that serves, or to a canary."""

    def __init__(self, platform: Platform, app: App, request: PushRequest, cancelled: Cancel) -> None:
        self._platform, self._app, self._request = platform, app, request
        self._cancelled = cancelled
        self.build = self._begin()

    def _begin(self) -> Build:
        request, holder = self._request, str(this_process())
        with self._platform.store.write() as tx:
            if request.canary is not None:
                check_beside(tx, self._app.id)
            build = builds.start(
                tx,
                self._app.id,
                commit=request.commit,
                tree=request.tree,
                actor=request.actor,
                holder=holder,
                origin=request.origin,
            )
            detail = {"build": build.number, "commit": request.commit, "origin": request.origin}
            events.add(tx, self._app.id, request.actor, "build.start", detail)
        return build

    def run(self, output: PushOutput) -> PushResult:
        self._output = output
        described, config, image = self._in_turn()
        self.finish_build("succeeded", image=image)
        if self._cancelled():
            raise Cancelled("The push was cancelled.", cause="cancelled")
        if not self._request.deploy:
            return PushResult(0, self.build.number, image.digest)
        change = self._change(described, config, image)
        self._check_serving()
        if self._request.canary is None:
            number = self._deploy(change)
            self._run_scripts(described, number)
        else:
            number = self._begin_canary(replace(change, beside=True), image, self._request.canary)
        return PushResult(number, self.build.number, image.digest)

    def finish_build(self, status: str, *, cause: str = "", image: Image | None = None) -> None:
        """A build that has finished stays as it is."""
        digest = image.digest if image is not None else None
        with self._platform.store.write() as tx:
            builds.finish(tx, self._app.id, self.build.number, status, cause=cause, image_digest=digest)

    def _in_turn(self) -> tuple[Described, dict[str, str], Image]:
        """`_build_image` as one of the builds under way, which a member may cancel by its number."""
        try:
            with TURNS.join(self._app, self.build.number) as turn:
                made = self._build_image(turn)
        except Cancelled:
            turn.refuse_cancelled()
            raise
        turn.refuse_cancelled()
        return made

    def _build_image(self, turn: Turn) -> tuple[Described, dict[str, str], Image]:
        """What the tree says, the config vars that it asks for, and the image."""
        app, output = self._app, self._output
        steps = Output(output.line, lambda: bool(turn.cancelled_by) or self._cancelled())
        steps.take_turn = partial(take_turn, TURNS, turn, self._platform.settings, steps)
        tree = self._open_tree(app.build_settings.get("procfile", "Procfile"))
        with self._platform.store.read() as tx:
            serving = releases.serving(tx, app)
            config, image = configs.of(tx, serving), images.of(tx, serving)
        told = image.manifest.get(WARNED, ()) if image else ()
        bases = BaseImages(self._platform, app, tree, config, steps)
        described = self._describe(tree, frozenset(told), bases)
        self._first = serving is None or serving.image_digest is None
        wanted = wanted_vars(described.manifest, config, first=self._first)
        unset = "" if self._first else left_unset(described.manifest, config)
        before = AppManifest.from_json(image.manifest) if image else described.manifest
        for sentence in (unset, *left_alone(described.manifest, before)):
            if sentence:
                output.warning(sentence)
        described, stack = self._with_stack(tree, described, frozenset(told), bases, steps)
        seen = {**config, **wanted}
        job = ImageJob(self._platform, app, self.build.number, tree, seen, stack, steps, bases.fetch())
        return described, wanted, build_image(job, described)

    def _with_stack(
        self, tree: SourceTree, described: Described, told: Collection[str], bases: BaseImages, steps: Output
    ) -> tuple[Described, Stack]:
        """The stack, made if need be. When one that was chosen for its Python cannot be made, what else there is decides."""
        without: list[str] = []
        while True:
            try:
                return described, load_or_make(self._platform, described.stack, steps)
            except (BuildFailed, Unavailable) as error:
                known = (self._app.stack, described.manifest.stack)
                if described.plan.language != "Python" or described.stack in known:
                    raise
                self._output.warning(error.message.splitlines()[0])
            without.append(described.stack)
            self._output.warning(f"stack {described.stack} cannot be had: another Python is looked for")
            described = self._describe(tree, told, bases, without)

    def _open_tree(self, procfile: str) -> SourceTree:
        """The source that a push brought, or that of the release which is built again: from its layer."""
        layout, request = self._platform.layout, self._request
        if request.again is None:
            return SourceTree.open(layout.sources, request.tree, procfile)
        with self._platform.store.read() as tx:
            layer = layer_keys.get(tx, source_key(self._app.id, request.tree))
        if layer is None:
            raise _forgotten(request.again)
        blob = layout.images / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")
        try:
            return SourceTree.of_layer(layout.sources, request.tree, blob, procfile)
        except FileNotFoundError:
            raise _forgotten(request.again) from None

    def _check_serving(self) -> None:
        """Raises Conflict if what is built again no longer serves."""
        again = self._request.again
        with self._platform.store.read() as tx:
            now = apps.get(tx, self._app.id).release_number
        if again not in (None, now):
            raise Conflict(
                f"Another release than v{again} serves meanwhile; nothing was deployed.",
                "Build that one again: paas ps:rebuild",
                cause="busy",
            )

    def _describe(
        self, tree: SourceTree, told: Collection[str], bases: BaseImages, without: Collection[str] = ()
    ) -> Described:
        """Read what the tree says of itself, and what images say that its Dockerfile names. Each warning is printed before anything can fail for its reason, and not again
        when the push of the serving release has `told` it."""
        output = self._output

        def warn(warnings: Iterable[str]) -> None:
            for warning in warnings:
                if warning not in told:
                    output.warning(warning)

        manifest, stack = AppManifest(), self._app.stack
        settings = self._app.build_settings
        try:
            manifest = read_manifest(tree)
            pythons = available(self._platform.layout, stack, manifest.stack, without)
            stack = pythons.stack
            described = self._read(bases, lambda: describe(tree, manifest, pythons, settings))
            stack = described.stack
        finally:  # a refusal, too, stands below this line
            output.line(f"-----> Building {self._app.name} from {self._request.source} on stack {stack}")
            warn(manifest.warnings)
        plan = described.plan
        output.line(f"-----> {plan.language} app detected ({plan.detected})")
        if plan.wants:
            bases.find(plan.wants)
            known = bases.bases
            described = self._read(bases, lambda: describe(tree, manifest, pythons, settings, known))
        for note in described.plan.notes:
            output.line(f"       {note}")
        warn(described.warnings)
        described.require_processes(tree)
        return described

    def _read(self, bases: BaseImages, read: Callable[[], Described]) -> Described:
        with _READING.one(self._app.owner_id, bases.output.cancelled):
            return read()

    def _change(self, described: Described, config: dict[str, str], image: Image) -> Push:
        with self._platform.store.read() as tx:
            known = formations.of_app(tx, self._app.id)
        limits = {
            name: wish.limits
            for name, wish in described.manifest.formation.items()
            if wish.limits and name in image.processes and name not in known and name != RELEASE_TYPE
        }
        return Push(
            actor=self._request.actor,
            description=f"{'Deploy' if self._request.again is None else 'Rebuild'} {self._request.source}",
            image_digest=image.digest,
            commit=self._request.commit or None,
            origin=self._request.origin,
            set_vars=config,
            limits=limits,
        )

    def _deploy(self, change: Push) -> int:
        return deploy(
            self._platform,
            self._app.id,
            change,
            self._output.line,
            wait_s=WAIT_S if self._request.wait else 0.0,
            on_wait=self._output.warning,
            cancelled=self._cancelled,
        ).number

    def _begin_canary(self, change: Push, image: Image, share: int) -> int:
        """Run the image beside the serving release. A canary changes nothing that stays: no release command runs."""
        platform, output, since = self._platform, self._output, time.time()
        with platform.store.write() as tx, admitted(tx, platform.settings.memory_overcommit):
            release, canary = begin_pushed(tx, self._app, change, share=share)
        platform.poke()
        tag(platform, release)
        output.line(f"-----> Release v{release.number}, as a canary with {share} % of the requests")
        if RELEASE_TYPE in image.processes:
            output.warning("The release command runs when the canary is promoted, not now")
        tell = partial(platform_line, platform.layout, self._app.id, "deploy")
        tell(f"Canary v{release.number}: {share} % of the requests, by {change.actor}")
        for line in come_up(platform, canary, since=since, tell=tell, cancelled=self._cancelled):
            output.line(line if line.startswith(" ") else f"       {line}")
        output.line("       Next: paas canary, canary:share, canary:promote or canary:stop")
        return release.number

    def _run_scripts(self, described: Described, number: int) -> None:
        for script in scripts_of(described.manifest.scripts, first=self._first):
            run_script(
                self._platform, self._app, number, script, actor=self._request.actor, line=self._output.line
            )


@contextmanager
def storage_failures() -> Iterator[None]:
    """Errors of the disk and of stored images as the platform's, which people may see."""
    try:
        yield
    except (ImageError, OSError) as broken:
        raise _storage_failure(broken) from broken


def _storage_failure(error: ImageError | OSError) -> PaasError:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("The disk of the server is full.", "See: paas doctor", cause="disk full")
    return Unavailable(f"The image could not be stored: {error}", "Push again.", cause="platform error")
