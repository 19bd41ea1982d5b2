"""One web instance of an image that was built, and what it answers."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from harness.builder import BuildPlatform
from paas.nouns.model import App, Image, Release
from paas.runs.specs import Origin, process_spec
from paas.store import instances

Get = Callable[..., http.client.HTTPResponse]


@contextmanager
def serving(platform: BuildPlatform, app: App, image: Image, commit: str = "c0ffee") -> Iterator[Get]:
    """One web instance of the image; a function that asks it."""
    with platform.store.write() as tx:
        row = instances.create(tx, app.id, kind="process", type="web", number=1)
    release = Release(app.id, 1, image.digest, 0, {}, "", commit, "test", "pending", "", time.time())
    origin = Origin(app, release, image, {})
    order, box = process_spec(origin, row, block_base=platform.block_base())
    started = platform.spawner.create(order, box)
    try:
        assert started.address is not None
        address = started.address

        def get(path: str, headers: Mapping[str, str] | None = None) -> http.client.HTTPResponse:
            deadline = time.monotonic() + 30
            while True:
                connection = http.client.HTTPConnection(address, 5000, timeout=10)
                try:
                    connection.request("GET", path, headers=dict(headers or {}))
                    return connection.getresponse()
                except OSError:
                    exited = [
                        seen.exit for seen in platform.spawner.list() if seen.id == order.id and seen.exit
                    ]
                    assert not exited, f"{exited}: {_log(platform, app, order.id)}"
                    assert time.monotonic() < deadline, _log(platform, app, order.id)
                    time.sleep(0.02)

        yield get
    finally:
        platform.spawner.delete(order.id)
        with platform.store.write() as tx:
            instances.ended(tx, row.id, cause="stopped")


def _log(platform: BuildPlatform, app: App, runtime_id: str) -> str:
    files = sorted((platform.layout.logs / app.id).glob(f"{runtime_id}.*"))
    return "\n".join(file.read_text() for file in files)
