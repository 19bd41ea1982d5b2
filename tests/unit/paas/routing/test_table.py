from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from harness.nouns import make_app, make_deployment, make_formation, make_image, make_instance

from paas.nouns.model import FormationEntry, Instance
from paas.routing.table import AppRoutes, route_table

APP = make_app()


def instance(id: int, release: int = 1, state: str = "up", **changes: Any) -> Instance:
    plain = {"number": id, "release_number": release, "state": state, "address": f"10.0.0.{id}"}
    return make_instance(id, **{**plain, "healthy_at": None, **changes})


deployment = make_deployment


def view(*live: Instance, web: int = 2, **changes: Any) -> AppRoutes:
    plain = AppRoutes(
        APP,
        image=make_image(),
        formation=make_formation(web=web),
        hosts=("hello.localhost", "www.example.com"),
        live=live,
    )
    return replace(plain, **changes)


def backends(of: AppRoutes) -> dict[str, bool]:
    """Backend -> draining."""
    pools = route_table([of], 1)["pools"]
    return {backend["id"]: backend["draining"] for backend in pools.get("a1", [])}


def test_every_host_leads_to_the_apps_pool() -> None:
    table = route_table([view(instance(1))], 42)
    assert table["generation"] == 42
    assert [(r["host"], r["path"], r["app"], r["log"], r["pool"], r["flags"]) for r in table["routes"]] == [
        ("hello.localhost", "/", "hello", "a1", "a1", {}),
        ("www.example.com", "/", "hello", "a1", "a1", {}),
    ]
    assert table["pools"]["a1"] == [
        {"id": "i1", "address": "10.0.0.1", "port": 5000, "weight": 1, "draining": False, "dyno": "web.1"}
    ]


def test_only_web_instances_that_are_up_or_draining_and_reachable_are_backends() -> None:
    others = [
        instance(2, state="starting"),
        instance(3, state="stopping"),
        instance(4, type="worker"),
        instance(5, address=None),
    ]
    assert backends(view(instance(1), *others, instance(6, state="draining"))) == {"i1": False, "i6": True}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("starting", {"i1": False}),
        ("switching", {"i1": True, "i2": False}),
        ("draining", {"i1": True, "i2": False}),
    ],
)
def test_traffic_moves_with_the_deployments_state(state: str, expected: dict[str, bool]) -> None:
    of = view(instance(1, 1), instance(2, 2), deployment=deployment(state))
    assert backends(of) == expected


def test_a_switch_that_failed_brings_the_old_release_back() -> None:
    assert backends(view(instance(1, 1), instance(2, 2, state="draining"))) == {"i1": False, "i2": True}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"image": None, "web": 0}, "H81"),
        ({"web": 0}, "H14"),
        ({"image": make_image(processes={"worker": "work"})}, "H14"),
        ({"formation": {"web": FormationEntry("a1", "web", 2, stopped=True)}}, "H14"),
        ({"live": (instance(1, state="starting"),)}, "H20"),
        ({"live": (instance(1, release=2, state="starting"),)}, "H10"),
        ({"live": (instance(1, state="starting", type="worker"),)}, "H10"),
        ({}, "H10"),
    ],
)
def test_an_app_without_a_backend_says_why(changes: dict[str, Any], code: str) -> None:
    (first, _) = route_table([view(**changes)], 1)["routes"]
    assert (first["pool"], first["flags"]) == (None, {"error": code})


def test_backends_that_drain_take_no_new_request() -> None:
    (first, _) = route_table([view(instance(1, state="draining"), web=0)], 1)["routes"]
    assert (first["pool"], first["flags"]) == ("a1", {"error": "H14"})


def test_an_app_that_is_destroyed_has_no_route() -> None:
    gone = replace(APP, destroying=True)
    assert route_table([view(instance(1), app=gone)], 1) == {"generation": 1, "routes": [], "pools": {}}


def test_each_host_gets_what_is_set_for_the_app_and_for_itself() -> None:
    hosts = ("hello.localhost", "www.example.com", "www.example.com/api", "*.example.com")
    settings = {
        "": {"body-limit": 10, "max-requests": 8, "canonical-host": "www.example.com"},
        "www.example.com": {"body-limit": 20},
        "www.example.com/api": {"maintenance": True},
    }
    table = route_table([view(instance(1), hosts=hosts, routing=settings)], 1, workers=2)
    common = {"max_inflight": 4, "canonical_host": "www.example.com"}
    assert [(route["host"], route["path"], route["flags"]) for route in table["routes"]] == [
        ("*.example.com", "/", {"body_limit_bytes": 10, **common}),
        ("hello.localhost", "/", {"body_limit_bytes": 10, **common}),
        ("www.example.com", "/", {"body_limit_bytes": 20, **common}),
        ("www.example.com", "/api", {"body_limit_bytes": 10, "maintenance": True, **common}),
    ]


def test_settings_of_an_app_without_a_backend_stand_beside_the_reason() -> None:
    (first, _) = route_table([view(web=0, routing={"": {"maintenance": True}})], 1)["routes"]
    assert first["flags"] == {"error": "H14", "maintenance": True}
