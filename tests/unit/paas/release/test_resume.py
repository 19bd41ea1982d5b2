"""What becomes of a push whose answer broke off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.changes import Control, push
from harness.nouns import make_image

from paas.nouns.errors import BuildFailed, Cancelled
from paas.nouns.model import Deployment
from paas.release.deployment import open_deployment
from paas.release.pipeline import PushRequest
from paas.release.resume import Mark, mark, resume_push
from paas.store import apps, builds, deployments, images
from runtime.kernel.process import this_process

REQUEST = PushRequest("c" * 40, "d" * 40, "me")


class Shop(Control):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with self.store.write() as tx:
            self.app = apps.create(tx, "hello", None)
            images.add(tx, make_image(app_id=self.app.id))

    def deploy(self, commit: str) -> Deployment:
        """A push as far as its deployment, which succeeds."""
        change = push(image_digest="sha256:i", commit=commit)
        _, deployment = open_deployment(self, self.app.id, change, wait_s=0)
        assert deployment is not None
        with self.store.write() as tx:
            deployments.add_line(tx, deployment.id, f"line of {commit[:1]}")
            for state in ("starting", "switching", "draining", "succeeded"):
                deployments.advance(tx, deployment.id, state)
        return deployment

    def mark(self) -> Mark:
        with self.store.read() as tx:
            return mark(tx, self.app.id)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.store.close()


def test_a_deployment_that_began_is_followed_to_its_end(shop: Shop) -> None:
    shop.deploy("b" * 40)
    since, heard = shop.mark(), list[str]()
    made = shop.deploy("c" * 40)
    result = resume_push(shop, shop.app, REQUEST, since, heard.append)
    assert (result.release, heard) == (made.release_number, ["line of c"])


def test_a_push_that_had_no_deployment_yet_failed_and_changed_nothing(shop: Shop) -> None:
    shop.deploy("c" * 40)
    with pytest.raises(BuildFailed, match="nothing was changed") as caught:
        resume_push(shop, shop.app, REQUEST, shop.mark(), [].append)
    assert caught.value.cause == "interrupted"


def test_the_deployment_of_another_commit_is_not_this_push(shop: Shop) -> None:
    since = shop.mark()
    shop.deploy("b" * 40)
    with pytest.raises(BuildFailed, match="nothing was changed"):
        resume_push(shop, shop.app, REQUEST, since, [].append)


def test_a_build_that_still_runs_is_waited_for_until_the_pusher_leaves(shop: Shop) -> None:
    with shop.store.write() as tx:
        builds.start(tx, shop.app.id, commit="c" * 40, tree="d" * 40, actor="me", holder=str(this_process()))
    answers = iter([False, True])
    with pytest.raises(Cancelled):
        resume_push(shop, shop.app, REQUEST, Mark(), [].append, lambda: next(answers))
    assert next(answers, None) is None
