"""Sources that are not pushed: an archive that a client sends, a repository elsewhere. Each is made by a process of its own (`paas.receive.fetch`)."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from paas.build.platform import Platform
from paas.daemon.turns import Turns
from paas.nouns.errors import Cancelled, PaasError, from_json
from paas.nouns.model import App
from paas.release.deployment import Cancel
from paas.release.pipeline import PushRequest, PushResult, run_push
from paas.release.push_output import PushOutput, open_log
from paas.store import builds
from runtime.kernel.process import this_process

_LOOK_S = 0.2
_GOODBYE_S = 10.0
_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Fetched:
    """A source: its tree, and the commit that it was at, empty for an archive."""

    tree: str
    commit: str


_OTHERS = "Other sources are being deployed"
RECEIVING = Turns(32, 2, _OTHERS)
"""Archives on their way in: each takes room on the disk."""
_turns = Turns(8, 2, _OTHERS)
"""Sources from the first byte until their release serves."""
_fetching = Turns(4, 1, _OTHERS)
"""Those of them that are being fetched and unpacked, which takes memory."""


def deploy_fetched(
    platform: Platform,
    app: App,
    what: Mapping[str, Any],
    origin: str,
    actor: str,
    say: Callable[[str], None],
    cancelled: Cancel,
    *,
    alone: bool = False,
) -> PushResult:
    """Make a source (see `fetched`), build and deploy it as a push would be; the release is of `origin`.

    When nobody waits for it (`alone`), it waits for its turn, and a source that cannot be made is a failed build. Raises
    PaasError.
    """
    with ExitStack() as held:
        try:
            source = held.enter_context(fetched(platform, app, what, say, cancelled, patient=alone))
        except PaasError as error:
            if alone:
                _record(platform, app, origin, actor, error)
            raise
        request = PushRequest(source.commit, source.tree, actor, origin=origin)
        return run_push(platform, app, request, say, cancelled)


def _record(platform: Platform, app: App, origin: str, actor: str, error: PaasError) -> None:
    """Note a source that could not be made, where people look for what was built."""
    holder = str(this_process())
    with platform.store.write() as tx:
        build = builds.start(tx, app.id, commit="", tree="", actor=actor, holder=holder, origin=origin)
        with open_log(platform.layout.builds / app.id, build.number) as log:  # before anybody sees the build
            PushOutput(lambda text: None, log).failure(error)
        builds.finish(tx, app.id, build.number, "failed", cause=error.cause or error.message)


@contextmanager
def fetched(
    platform: Platform,
    app: App,
    what: Mapping[str, Any],
    say: Callable[[str], None],
    cancelled: Cancel,
    *,
    patient: bool = False,
) -> Iterator[Fetched]:
    """Make a source and keep it for the length of the block. `what` are the fields of `paas.receive.fetch.Wanted` that
    say what to take. Raises TooMany, unless it is `patient`, PaasError, Cancelled.
    """
    settings = platform.settings
    wanted = {
        "sources": str(platform.layout.sources),
        "pack_bytes": settings.push_limit_bytes,
        "source_bytes": settings.source_limit_bytes,
        "private": [str(network) for network in settings.private_registries],
        "root": app.build_settings.get("root", ""),
        **what,
    }
    kept = [what["archive"]] if "archive" in what else []
    with _turns.one(app.owner_id, cancelled if patient else None), _process(platform, kept) as process:
        assert process.stdin is not None and process.stdout is not None
        with _fetching.one(app.owner_id, cancelled):
            with suppress(BrokenPipeError):  # it has crashed: then it answers nothing
                process.stdin.write(json.dumps(wanted).encode() + b"\n")
                process.stdin.flush()
            source = _read(process.stdout, say, cancelled)
        yield source


@contextmanager
def _process(platform: Platform, kept: list[int]) -> Iterator[subprocess.Popen[bytes]]:
    """The process that fetches; at the end it lets the source go and ends."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "paas.receive.fetch", *map(str, platform.work_groups)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=kept,
        start_new_session=True,
    )
    try:
        yield process
    except BaseException:  # a cancellation and the worker's end as well: the fetch must not go on alone
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGHUP)
        raise
    finally:
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                stream and stream.close()
        try:
            process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read(answers: IO[bytes], say: Callable[[str], None], cancelled: Cancel) -> Fetched:
    """Pass lines on until the source is there."""
    for line in _lines(answers.fileno(), cancelled):
        message = json.loads(line)
        if "line" in message:
            say(message["line"])
        elif "error" in message:
            raise from_json(message["error"])
        else:
            return Fetched(**message["source"])
    raise PaasError("The source could not be made.", "The operator finds the reason in the server's log.")


def _lines(descriptor: int, cancelled: Cancel) -> Iterator[bytes]:
    poller, rest = select.poll(), b""
    poller.register(descriptor, select.POLLIN)
    while True:
        if cancelled():
            raise Cancelled("The deployment was cancelled.", cause="cancelled")
        if not poller.poll(_LOOK_S * 1000):
            continue
        data = os.read(descriptor, 65536)
        if not data or len(rest) > _LINE_BYTES:
            return
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
