"""Rows as converge would have left them, for tests of the api without a loop."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from harness.nouns import make_image
from harness.platform import wait_for
from paas.daemon.wakeup import Waker
from paas.nouns.model import CANARY, App, Instance
from paas.runs.specs import WEB
from paas.store import Store, Tx, apps, deployments, desired, images, instances, releases
from runtime.home import Layout


class Api(Protocol):
    """The api daemon, or the application in this process."""

    store: Store
    layout: Layout


def app_of(api: Api, name: str) -> Any:
    with api.store.read() as tx:
        return apps.by_name(tx, name)


def deployed(api: Api, name: str, **processes: str) -> str:
    """Give the app one more serving release, as converge would have; its id."""
    app = app_of(api, name)
    with api.store.write() as tx:
        number = 1 + len(images.of_app(tx, app.id))
        image = make_image(
            app_id=app.id, digest=f"sha256:{number}", layers=("sha256:" + "a" * 64,), processes=processes
        )
        images.add(tx, image)
        release = releases.create(
            tx, app.id, image_digest=image.digest, config_number=0, limits={}, description="Deploy 1234567",
            commit="1" * 40, actor="ann",
        )  # fmt: skip
        _move(
            tx, deployments.create(tx, app.id, release_number=release.number, from_release=None, push=True).id
        )
    return str(app.id)


def _move(tx: Any, id: int, *states: str) -> None:
    for state in states or ("starting", "switching", "draining", "succeeded"):
        deployments.advance(tx, id, state)


def converge(api: Api, app_id: str, *states: str, lines: tuple[str, ...] = ()) -> None:
    """Wait for the deployment that the api opens, and move it as the loop would."""

    def found() -> Any:
        with api.store.read() as tx:
            return deployments.unfinished_of(tx, app_id)

    deployment = wait_for(found)
    with api.store.write() as tx:
        for line in lines:
            deployments.add_line(tx, deployment.id, line)
        _move(tx, deployment.id, *states)


@contextlib.contextmanager
def loop_at_work(api: Api, *, failing: str = "") -> Iterator[None]:
    """Meanwhile rows move as converge would move them: deployments succeed, and what should run comes up.

    The instance named `failing` (`web.2`) ends while it boots.
    """
    stop, waker = threading.Event(), Waker(api.layout)
    waiting = api.layout.converge_socket.with_name("waiting")

    def turn() -> None:
        while not stop.wait(0.01):
            with api.store.read() as tx:
                if not any(waiting.iterdir()) and not deployments.unfinished(tx):
                    continue
            with api.store.write() as tx:
                for app in apps.all(tx):
                    _move_app(tx, app.id, failing, followed=any(waiting.iterdir()))
            waker.wake()

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        waker.close()


def _move_app(tx: Tx, app_id: str, failing: str, *, followed: bool) -> None:
    deployment = deployments.unfinished_of(tx, app_id)
    if deployment is not None:
        _move(tx, deployment.id)
    elif not followed:  # a change is followed from its very beginning
        return
    app = apps.get(tx, app_id)
    wish = desired.of_app(tx, app)
    wanted = dict.fromkeys(wish.wanted(wish.image), app.release_number)
    wanted |= {slot: wish.canary.release_number for slot in wish.wanted_canary() if wish.canary}
    for instance in instances.live_of(tx, app_id):
        if instance.kind == "process" and not _fits(instance, app, wanted.get(instance.slot)):
            instances.ended(tx, instance.id, cause="stopped")
        elif instance.name == failing:
            instances.ended(tx, instance.id, cause="exited with status 3")
        elif instance.kind == "process" and instance.state == "starting":
            instances.healthy(tx, instance.id)
    present = {instance.slot for instance in instances.live_of(tx, app_id)}
    for slot in wanted.keys() - present:
        canary = slot[0] == CANARY
        instances.create(
            tx, app_id, kind="process", type=WEB if canary else slot[0], number=slot[1], canary=canary,
            release_number=wanted[slot], restart_token=app.restart_token,
        )  # fmt: skip


def _fits(instance: Instance, app: App, release: int | None) -> bool:
    return instance.release_number == release and instance.restart_token >= app.restart_token
