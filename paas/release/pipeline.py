"""A push after its objects have arrived: build, release, and the answer that is true."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from paas.build.image import Described, build_image, describe
from paas.build.source import SourceTree
from paas.build.step import Output, Platform, printable, spawner_failure
from paas.daemon import threads
from paas.logs import platform_line
from paas.manifest.wishes import left_unset, wanted_vars
from paas.nouns.errors import BadInput, BuildFailed, Cancelled, PaasError, Unavailable
from paas.nouns.model import App, Build, Image, Release
from paas.release.canary import begin_pushed, check_beside, come_up
from paas.release.capacity import admitted
from paas.release.deployment import follow, open_deployment
from paas.release.postdeploy import run_script, scripts_of
from paas.release.release import Change
from paas.runs.specs import RELEASE_TYPE
from paas.store import Tx, builds, configs, events, formations, releases
from runtime.client import SpawnerError
from runtime.image.errors import ImageError
from runtime.image.ocilayout import ImageStore
from runtime.kernel.process import this_process
from runtime.stack import build as stacks
from runtime.stack.build import Stack

POLL_S = 0.1
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True)
class PushRequest:
    """What the git daemon says of a push."""

    commit: str
    tree: str
    actor: str
    branch: str = "main"
    subject: str = ""
    author: str = ""
    wait: bool = True
    canary: int | None = None
    """Percent of the requests that the release gets beside the serving one, instead of serving itself."""

    @classmethod
    def parse(cls, data: Mapping[str, Any], actor: str) -> PushRequest:
        """Raises BadInput for what is no push."""
        texts = {name: data.get(name, "") for name in ("commit", "tree", "branch", "subject", "author")}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise BadInput(f"{name} is not text.")
        for name in ("commit", "tree"):
            if not _COMMIT.fullmatch(texts[name]):
                raise BadInput(f"{name} is not an object id of 40 or 64 hexadecimal digits.")
        share = data.get("canary")
        canary = share if isinstance(share, int) else None
        return cls(actor=actor, wait=data.get("wait", True) is not False, canary=canary, **texts)


@dataclass(frozen=True)
class PushResult:
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
    cancelled: Callable[[], bool] = lambda: False,
) -> PushResult:
    """Build the exported tree and deploy it; lines of the push grammar go to `out` as they come.

    Returns when the new release serves. Raises PaasError otherwise; then the old release is as it was.
    """
    build = _begin(platform, app, request)

    def finish(status: str, cause: str, digest: str | None = None) -> None:
        with platform.store.write() as tx:  # a build that has finished stays as it is
            builds.finish(tx, app.id, build.number, status, cause=cause, image_digest=digest)

    try:
        with _open_log(platform.layout.builds / app.id, build.number) as log:
            said = _Said(out, log)
            try:
                output = Output(said.line, cancelled)
                image, described, config = _build(platform, app, build.number, request, output)
                finish("succeeded", "", image.digest)
                deploy = _release if request.canary is None else _canary
                number = deploy(platform, app, request, image, described, config, said, cancelled)
                if request.canary is None:
                    _postdeploy(platform, app, number, request.actor, described, said)
            except PaasError as error:
                said.failure(error)
                raise
        return PushResult(number, build.number, image.digest)
    except PaasError as error:
        finish("cancelled" if isinstance(error, Cancelled) else "failed", error.cause or error.message)
        raise
    except (ImageError, OSError) as broken:
        failure = _storage_failure(broken)
        finish("failed", failure.cause)
        raise failure from broken
    finally:
        finish("failed", "internal error")


def _begin(platform: Platform, app: App, request: PushRequest) -> Build:
    commit, tree, actor = request.commit, request.tree, request.actor
    with platform.store.write() as tx:
        if request.canary is not None:
            check_beside(tx, app.id)
        build = builds.start(tx, app.id, commit=commit, tree=tree, actor=actor, holder=str(this_process()))
        events.add(tx, app.id, actor, "build.start", {"build": build.number, "commit": commit})
    return build


def _storage_failure(error: ImageError | OSError) -> PaasError:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("The disk of the server is full.", "See: paas doctor", cause="disk full")
    return Unavailable(f"The image could not be stored: {error}", "Push again.", cause="platform error")


class _Said:
    """Lines go to the pusher and to the build's log."""

    def __init__(self, out: Callable[[str], None], log: IO[str]) -> None:
        self._out, self._log = out, log

    def line(self, text: str) -> None:
        text = printable(text)
        self.record(text)
        self._out(text)

    def warning(self, text: str) -> None:
        self.line(f" !     {text}")

    def record(self, text: str) -> None:
        self._log.write(text + "\n")
        self._log.flush()

    def failure(self, error: PaasError) -> None:
        """The log tells how the build ended; the pusher is told by the caller."""
        prefix = f"{error.cause}: " if error.cause else ""
        for text in (prefix + error.message, error.hint):
            if text:
                self.record(f" !     {printable(text)}")


def _open_log(folder: Path, number: int) -> IO[str]:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(
        folder / f"{number}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640
    )
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace")


def _build(
    platform: Platform, app: App, number: int, request: PushRequest, output: Output
) -> tuple[Image, Described, dict[str, str]]:
    output.line(f"-----> Building {app.name} from {request.commit[:7]} on stack {app.stack}")
    stack = _stack(platform, app.stack, output)
    tree = SourceTree.open(platform.layout.sources, request.tree)
    described = describe(tree)
    plan = described.plan
    output.line(f"-----> {plan.language} app detected ({plan.detected})")
    for note in plan.notes:
        output.line(f"       {note}")
    for warning in (*plan.warnings, *described.manifest.warnings):
        output.line(f" !     {warning}")
    if described.manifest.stack not in ("", app.stack):
        output.line(
            f" !     app.json: stack {described.manifest.stack} is not used; the app is on {app.stack}"
        )
    with platform.store.read() as tx:
        config, first = _standing(tx, app)
    wanted = wanted_vars(described.manifest, config, first=first)
    unset = "" if first else left_unset(described.manifest, config)
    if unset:
        output.line(f" !     {unset}")
    image = build_image(platform, app, number, tree, described, {**config, **wanted}, stack, output)
    return image, described, wanted


def _standing(tx: Tx, app: App) -> tuple[dict[str, str], bool]:
    """The config vars that the new release will have, and whether it is the first with an image."""
    serving = releases.serving(tx, app)
    return configs.of(tx, serving), serving is None or serving.image_digest is None


def _release(
    platform: Platform,
    app: App,
    request: PushRequest,
    image: Image,
    described: Described,
    config: dict[str, str],
    said: _Said,
    cancelled: Callable[[], bool],
) -> int:
    if cancelled():
        raise Cancelled("The push was cancelled.", cause="cancelled")
    change = _change(platform, app, request, image, described, config)
    release, deployment = open_deployment(
        platform.store,
        platform.poke,
        app.id,
        change,
        actor=request.actor,
        description=f"Deploy {request.commit[:7]}",
        push=True,
        on_wait=said.warning,
        cancelled=cancelled,
        overcommit=platform.settings.memory_overcommit,
        **({} if request.wait else {"wait_s": 0.0}),
    )
    if deployment is None:
        raise BuildFailed("The release has no image.", cause="internal error")
    _tag(platform, app, release, image)
    for line in follow(platform.store, deployment.id, cancelled=cancelled, poke=platform.poke):
        said.line(line)
    return release.number


def _canary(
    platform: Platform,
    app: App,
    request: PushRequest,
    image: Image,
    described: Described,
    config: dict[str, str],
    said: _Said,
    cancelled: Callable[[], bool],
) -> int:
    """Let the image run beside the serving release. A canary changes nothing that stays: no release command runs."""
    change, share = _change(platform, app, request, image, described, config), request.canary or 0
    since, description = time.time(), f"Deploy {request.commit[:7]}"
    with platform.store.write() as tx, admitted(tx, platform.settings.memory_overcommit):
        release, canary = begin_pushed(
            tx, app, replace(change, beside=True), share=share, actor=request.actor, description=description
        )
    platform.poke()
    _tag(platform, app, release, image)
    said.line(f"-----> Release v{release.number}, as a canary with {share} % of the requests")
    if RELEASE_TYPE in image.processes:
        said.warning("The release command runs when the canary is promoted, not now")
    tell = partial(platform_line, platform.layout, app.id, "deploy")
    tell(f"Canary v{release.number}: {share} % of the requests, by {request.actor}")
    lines = come_up(platform.store, platform.poke, canary, since=since, tell=tell, cancelled=cancelled)
    for line in lines:
        said.line(line if line.startswith(" ") else f"       {line}")
    said.line("       Next: paas canary, canary:share, canary:promote or canary:stop")
    return release.number


def _change(
    platform: Platform,
    app: App,
    request: PushRequest,
    image: Image,
    described: Described,
    config: dict[str, str],
) -> Change:
    with platform.store.read() as tx:
        known = formations.of_app(tx, app.id)
    limits = {
        name: wish.limits
        for name, wish in described.manifest.formation.items()
        if wish.limits and name in image.processes and name not in known and name != RELEASE_TYPE
    }
    return Change(image_digest=image.digest, commit=request.commit, set_vars=config, limits=limits)


def _tag(platform: Platform, app: App, release: Release, image: Image) -> None:
    store = ImageStore(platform.layout.images, platform.layout.stacks)
    store.tag(f"{app.id}.v{release.number}", image.digest)


def _postdeploy(
    platform: Platform, app: App, number: int, actor: str, described: Described, said: _Said
) -> None:
    with platform.store.read() as tx:
        _, first = _standing(tx, app)
    for script in scripts_of(described.manifest.scripts, first=first):
        run_script(platform, app, number, script, actor=actor, line=said.line)


def _stack(platform: Platform, name: str, output: Output) -> Stack:
    """The app's stack, made now when the machine has none yet."""
    found = stacks.load(platform.layout.stacks, name)
    if found is not None:
        return found
    output.line(f"-----> Making stack {name}: once for this machine, about half a minute")
    failed: list[Exception] = []

    def make() -> None:
        try:
            platform.spawner.ensure_stack(name)
        except (SpawnerError, OSError) as error:
            failed.append(error)

    progress = _Tail(platform.layout.spawner_socket.parent / f"stack-{name}.log")
    worker = threads.start("stack", make)
    while worker.is_alive():
        worker.join(POLL_S)
        for text in progress.lines():
            output.line(f"       {text}")
        if output.cancelled():
            raise Cancelled("The push was cancelled; the stack is still being made.", cause="cancelled")
    if failed:
        raise spawner_failure(failed[0])
    found = stacks.load(platform.layout.stacks, name)
    if found is None:
        raise BuildFailed(f"Stack {name} could not be made.", "See: paas stacks", cause="no stack")
    return found


class _Tail:
    """New whole lines of a growing file, from where it ended when we began."""

    def __init__(self, path: Path) -> None:
        self._path, self._rest = path, ""
        self._at = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[str]:
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                file.seek(min(self._at, os.fstat(file.fileno()).st_size))
                text = file.read()
                self._at = file.tell()
        except FileNotFoundError:
            return []
        *whole, self._rest = (self._rest + text).split("\n")
        return [line for line in whole if line.strip()]
