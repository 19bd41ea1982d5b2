"""Nouns with every field filled in; a test names only what it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from paas.nouns.model import App, Deployment, FormationEntry, Image, Instance, Release

APP_ID = "a1"


def make_app(**changes: Any) -> App:
    """The app `hello`, whose release 1 serves."""
    plain = App(
        id=APP_ID,
        name="hello",
        owner_id=None,
        range_index=1,
        deploy_branch="main",
        stack="debian-12",
        release_number=1,
        restart_token=0,
        destroying=False,
        created_at=0.0,
    )
    return replace(plain, **changes)


def make_image(**changes: Any) -> Image:
    """An image with a web process."""
    plain = Image(
        app_id=APP_ID,
        digest="sha256:i",
        layers=(),
        env={},
        processes={"web": "run"},
        manifest={},
        stack="debian-12",
        size_bytes=1,
    )
    return replace(plain, **changes)


def make_release(number: int = 1, **changes: Any) -> Release:
    """A release that has succeeded."""
    plain = Release(
        app_id=APP_ID,
        number=number,
        image_digest="sha256:i",
        config_number=0,
        limits={},
        description="Deploy",
        commit=None,
        actor="me",
        state="succeeded",
        cause="",
        created_at=0.0,
    )
    return replace(plain, **changes)


def make_instance(id: int = 1, **changes: Any) -> Instance:
    """An instance `web.1` of release 1 that is up."""
    plain = Instance(
        id=id,
        app_id=APP_ID,
        kind="process",
        type="web",
        number=1,
        release_number=1,
        deployment_id=None,
        restart_token=0,
        state="up",
        detail={},
        address="10.0.0.1",
        port=5000,
        created_at=0.0,
        state_at=0.0,
        healthy_at=1.0,
        ended_at=None,
        cause="",
        exit=None,
    )
    return replace(plain, **changes)


def make_deployment(state: str, **changes: Any) -> Deployment:
    """A push that moves the app from release 1 to release 2."""
    plain = Deployment(
        id=7,
        app_id=APP_ID,
        release_number=2,
        from_release=1,
        push=True,
        state=state,
        cancel_requested=False,
        error=None,
        created_at=0.0,
        step_at=0.0,
        finished_at=None,
    )
    return replace(plain, **changes)


def make_formation(**counts: int) -> dict[str, FormationEntry]:
    """Process type → entry with this quantity."""
    return {type: FormationEntry(APP_ID, type, count) for type, count in counts.items()}
