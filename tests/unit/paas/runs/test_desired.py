"""Which processes of an app should run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.nouns import APP_ID, make_app, make_formation, make_image, make_release

from paas.nouns.model import Canary, FormationEntry
from paas.runs.desired import Desired

IMAGE = make_image(processes={"worker": "work", "web": "serve", "release": "migrate"})


def wish(**changes: Any) -> Desired:
    plain = Desired(make_app(), make_release(), IMAGE, make_formation(worker=1, web=2, release=1, gone=3))
    return replace(plain, **changes)


def with_canary(**changes: Any) -> Desired:
    canary = Canary(APP_ID, 2, share=10, quantity=2, created_at=0.0)
    return wish(canary=canary, canary_release=make_release(2), canary_image=IMAGE, **changes)


def test_web_comes_first_and_only_what_the_image_has_runs() -> None:
    assert wish().wanted(IMAGE) == [("web", 1), ("web", 2), ("worker", 1)]
    assert wish().wanted(None) == []


def test_a_stopped_type_keeps_its_places_and_wants_none() -> None:
    stopped = {**make_formation(worker=1), "web": FormationEntry(APP_ID, "web", 2, stopped=True)}
    of = wish(formation=stopped)
    assert of.wanted(IMAGE) == [("worker", 1)]
    assert of.places(IMAGE) == [("web", 1), ("web", 2), ("worker", 1)]
    assert of.web_count == 0


def test_a_canary_runs_while_web_does() -> None:
    assert with_canary().wanted_canary() == [("canary", 1), ("canary", 2)]
    for web in (FormationEntry(APP_ID, "web", 0), FormationEntry(APP_ID, "web", 2, stopped=True)):
        of = with_canary(formation={"web": web})
        assert of.wanted_canary() == []
        assert of.canary_places() == [("canary", 1), ("canary", 2)]


def test_without_canary_or_without_its_web_process_there_is_no_place_for_one() -> None:
    assert wish().canary_places() == []
    assert replace(with_canary(), canary_image=make_image(processes={"worker": "work"})).canary_places() == []
