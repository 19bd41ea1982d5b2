"""How nouns look as JSON."""

from __future__ import annotations

from harness.flask_api import FlaskApi
from harness.nouns import make_formation, make_image, make_release

from paas.api import shapes
from paas.nouns.model import Build, FormationEntry, Key, Token, User
from paas.store import apps, domains, people


def test_the_formation_has_web_first_and_no_release_command() -> None:
    image = make_image(processes={"clock": "tick", "release": "migrate", "web": "run"})
    shown = shapes.formation_json(make_formation(web=2), image)
    assert [(one["type"], one["command"], one["quantity"]) for one in shown] == [
        ("web", "run", 2),
        ("clock", "tick", 0),
    ]


def test_a_type_that_the_image_lost_is_not_shown() -> None:
    assert shapes.formation_json(make_formation(web=2, old=1), make_image(processes={"web": "run"}))[1:] == []
    assert shapes.formation_json(make_formation(web=2), None) == []


def test_a_stopped_type_keeps_its_quantity_and_limits() -> None:
    entry = FormationEntry("a1", "web", 3, {"pids": 9}, stopped=True)
    (shown,) = shapes.formation_json({"web": entry}, make_image())
    assert (shown["quantity"], shown["stopped"], shown["limits"]["pids"]) == (3, True, 9)


def test_limits_are_shown_whole_and_only_those_that_people_set() -> None:
    plain = {"memory_bytes": 512 << 20, "cpu_millis": 1000, "pids": 256}
    assert shapes.limits_json({}) == plain
    assert shapes.limits_json({"pids": 7, "wall_s": 5}) == {**plain, "pids": 7}


def test_only_the_release_that_serves_is_current() -> None:
    release = make_release(3, commit="c" * 40)
    shown = shapes.release_json(release, 3)
    assert (shown["version"], shown["current"], shown["commit"]) == ("v3", True, "c" * 40)
    assert [shapes.release_json(release, other)["current"] for other in (2, None)] == [False, False]


def test_an_app_is_shown_with_its_addresses_and_its_owners_name(api: FlaskApi) -> None:
    with api.store.write() as tx:
        owner = people.add_user(tx, "ann", "admin")
        app = apps.create(tx, "hello", owner.id)
        domains.add(tx, app.id, "www.example.com")
        shown = shapes.app_json(tx, app, api.settings)
    assert (shown["owner"], shown["domains"]) == ("ann", ["www.example.com"])
    assert (shown["url"], shown["git_url"]) == (
        "http://hello.localhost:8080/",
        "ssh://paas@127.0.0.1:2222/hello",
    )
    assert (shown["release"], shown["size_bytes"], shown["processes"]) == (None, None, [])


def test_neither_a_key_nor_a_token_shows_its_secret_part() -> None:
    ann = User(1, "ann", "member")
    key = shapes.key_json(Key("SHA256:x", 1, "ssh-ed25519 AAAA", "laptop", 5.0), ann)
    assert key == {
        "fingerprint": "SHA256:x", "comment": "laptop", "created_at": 5.0, "user": "ann", "type": "ssh-ed25519",
    }  # fmt: skip
    token = shapes.token_json(Token(3, 1, "ci", 5.0, None), None)
    assert token == {"id": 3, "name": "ci", "created_at": 5.0, "last_used_at": None, "user": None}


def test_a_build_that_runs_has_no_end_and_no_image() -> None:
    build = Build("a1", 4, "c" * 40, "t" * 40, "ann", "running", "", None, "holder", 5.0, None)
    shown = shapes.build_json(build)
    assert (shown["number"], shown["status"], shown["finished_at"], shown["image"]) == (
        4,
        "running",
        None,
        None,
    )
    assert "holder" not in shown
